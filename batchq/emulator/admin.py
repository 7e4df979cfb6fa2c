"""What the emulator tells about itself, and takes orders by: /emulator/…, for callers on this machine only.

GET  stats                  counts (recording.Recorder.stats), and of uploaded files
GET  calls?limit=100        the latest calls, newest last
GET  prompts?limit=&text=   each prompt's requests and answers
GET  admissions             seconds at which each request was admitted
GET  options                as they are now
POST reset                  forget all; {"day": true} only gives the requests of the day back
POST config                 change options, by name: {"rpm": 600, "faults": ["503:0.1"]}
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import ip_address
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from batchq.emulator.emulation import Emulation
from batchq.emulator.misbehaviour import reply
from batchq.errors import ConfigurationError


async def administer(emulation: Emulation, request: web.BaseRequest, path: str, query: str) -> web.Response:
    if not _is_near(request.remote):
        return _said({"error": "for callers on this machine only"}, 403)
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    order = (request.method, path.removeprefix("/emulator/"))
    try:
        if order == ("POST", "reset"):
            return _reset(emulation, json.loads(await request.content.read() or b"{}"))
        if order == ("POST", "config"):
            emulation.configure(json.loads(await request.content.read()))
            return _said(options_shown(emulation))
        if order == ("GET", "prompts"):
            rows = emulation.recorder.prompts()
            return reply(await asyncio.to_thread(_listed, rows, asked))  # there may be millions
        told = _told(emulation, order, asked)
    except (ValueError, AttributeError, TypeError) as exc:
        return _said({"error": f"not understood: {exc}"}, 400)
    except ConfigurationError as exc:
        return _said({"error": str(exc)}, 400)
    return _said({"error": f"no {request.method} {path}"}, 404) if told is None else _said(told)


def _told(emulation: Emulation, order: tuple[str, str], asked: dict[str, str]) -> Any:
    recorder = emulation.recorder
    limit = int(asked.get("limit", 100))
    match order:
        case ("GET", "stats"):
            return emulation.stats()
        case ("GET", "calls"):
            return [call.record() for call in list(recorder.calls)[-limit:]] if limit else []
        case ("GET", "admissions"):
            return list(recorder.all.times_s)
        case ("GET", "options"):
            return options_shown(emulation)
    return None


def _listed(rows: Iterator[dict[str, Any]], asked: dict[str, str]) -> bytes:
    least = int(asked.get("least", 0))
    wanted = (row for row in rows if row["requests"] >= least)
    return json.dumps(list(islice(wanted, int(asked["limit"]) if "limit" in asked else None))).encode()


def _reset(emulation: Emulation, wanted: dict[str, Any]) -> web.Response:
    if wanted.get("day"):
        emulation.limiter.new_day()
    else:
        emulation.reset()
    return _said({})


def options_shown(emulation: Emulation) -> dict[str, Any]:
    """The options as JSON; bad keys only by their number."""
    shown: dict[str, Any] = {}
    for entry in fields(emulation.options):
        value = getattr(emulation.options, entry.name)
        if entry.name == "bad_keys":
            value = len(value)
        shown[entry.name] = value
    return shown


def _said(value: Any, status: int = 200) -> web.Response:
    return reply(json.dumps(value, default=_plain).encode(), status)


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if hasattr(value, "__slots__"):
        return {name: getattr(value, name) for name in value.__slots__}
    return str(value)


def _is_near(remote: str | None) -> bool:
    try:
        address = ip_address(remote or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
