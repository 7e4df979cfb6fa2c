"""The Files API's requests: resumable uploads, get, list, delete. They are no calls to a model."""

from __future__ import annotations

import asyncio
import json
import re
from urllib.parse import parse_qs

from aiohttp import web

from batchq.emulator.asked import load
from batchq.emulator.emulation import Emulation
from batchq.emulator.misbehaviour import reply
from batchq.emulator.refusals import Refusal, invalid
from batchq.emulator.routes import Route, caller

_UPLOAD = re.compile(r"/upload/(v1|v1beta|v1alpha)/files")
_FILES = re.compile(r"/(v1|v1beta|v1alpha)/files(?:/([^/:]+))?")
_PIECE = 8 * 1024 * 1024  # the granularity that Google asks for
MOST_LISTED = 100


def is_of_files(path: str) -> bool:
    return bool(_UPLOAD.fullmatch(path) or _FILES.fullmatch(path))


async def serve_files(emulation: Emulation, request: web.BaseRequest, path: str, query: str) -> web.Response:
    """Raises Refusal."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    if found := _UPLOAD.fullmatch(path):
        return await _upload(emulation, request, found[1], asked)
    found = _FILES.fullmatch(path)
    assert found
    version, name = found.groups()
    project, shelf, base = (
        _project(emulation, request, version, asked),
        emulation.shelf,
        _base(request, version),
    )
    if request.method == "GET" and name:
        return _said(shelf.shown(shelf.get(name, project), base))
    if request.method == "DELETE" and name:
        shelf.delete(name, project)
        return _said({})
    if request.method == "GET":
        first = int(asked.get("pageToken") or 0)
        size = min(MOST_LISTED, int(asked.get("pageSize") or 10))
        held = shelf.of(project)
        page = {"files": [shelf.shown(file, base) for file in held[first : first + size]]}
        more = {"nextPageToken": str(first + size)} if first + size < len(held) else {}
        return _said(page | more)
    raise Refusal(404)


async def _upload(
    emulation: Emulation, request: web.BaseRequest, version: str, asked: dict[str, str]
) -> web.Response:
    shelf, room, headers = emulation.shelf, emulation.options.room, request.headers
    body = await request.content.read()
    commands = [one.strip() for one in headers.get("X-Goog-Upload-Command", "").split(",")]
    upload_id = asked.get("upload_id")
    if upload_id is None:
        project = _project(emulation, request, version, asked)
        if headers.get("X-Goog-Upload-Protocol") != "resumable" or commands != ["start"]:
            raise invalid("X-Goog-Upload-Protocol: only resumable uploads are known here")
        wanted = load(body).get("file") or {}
        size = int(headers.get("X-Goog-Upload-Header-Content-Length", "-1"))
        kind = headers.get("X-Goog-Upload-Header-Content-Type") or str(wanted.get("mimeType") or "")
        if size < 0 or not kind:
            raise invalid("Content-Length and Content-Type of the upload must be announced")
        begun = shelf.begin(project, wanted, size, kind, room)
        url = f"{request.scheme}://{request.host}/upload/{version}/files?upload_id={begun}&upload_protocol=resumable"
        return _at("active", {}, {"X-Goog-Upload-URL": url, "X-Goog-Upload-Chunk-Granularity": str(_PIECE)})
    if "query" in commands:
        return _at("active", {}, {"X-Goog-Upload-Size-Received": str(shelf.received(upload_id))})
    if "upload" in commands:
        shelf.add(upload_id, int(headers.get("X-Goog-Upload-Offset", "0")), body)
    if "finalize" not in commands:
        return _at("active", {}, {})
    file = await asyncio.to_thread(shelf.finish, upload_id, room)
    return _at("final", {"file": shelf.shown(file, _base(request, version))}, {})


def _project(emulation: Emulation, request: web.BaseRequest, version: str, asked: dict[str, str]) -> str:
    key = request.headers.get("x-goog-api-key") or asked.get("key")
    route = Route(version, False, None, "global", None, None)
    return caller(route, key, request.headers.get("Authorization"), emulation.options.bad_keys)


def _base(request: web.BaseRequest, version: str) -> str:
    return f"{request.scheme}://{request.host}/{version}"


def _at(status: str, body: object, headers: dict[str, str]) -> web.Response:
    response = _said(body)
    response.headers.update({"X-Goog-Upload-Status": status} | headers)
    return response


def _said(body: object) -> web.Response:
    return reply(json.dumps(body).encode())
