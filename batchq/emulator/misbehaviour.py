"""What a fault does to a request: an error, an answer that is none, a body that breaks off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from batchq.emulator.asked import Asked
from batchq.emulator.faults import Fault
from batchq.emulator.limits import SECOND_US, Quota
from batchq.emulator.refusals import (
    EMBED_QUOTAS,
    GENERATE_QUOTAS,
    HTML_502,
    VERTEX_429,
    Refusal,
    quota_refusal,
)
from batchq.emulator.replies import finished

Json = dict[str, Any]

JSON = "application/json; charset=UTF-8"
DROPS = 20  # pieces of a dripping body
PIECE = 64 * 1024  # of a huge one

RATINGS = [
    {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True},
    {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"},
]


def refusal_of(fault: Fault, model: str, *, embeds: bool, vertex: bool) -> Refusal:
    """The error of a fault that is a status."""
    outcome = f"fault:{fault.kind}"
    if fault.kind == "capacity":
        return Refusal(429, VERTEX_429 if vertex else "", outcome=outcome)
    code = int(fault.kind[:3])
    if code != 429:
        return Refusal(code, outcome=outcome)
    metric, quota_id = (EMBED_QUOTAS if embeds else GENERATE_QUOTAS)[
        Quota.RPD if fault.kind == "429-day" else Quota.RPM
    ]
    limit = 0 if fault.kind == "429-zero" else 1000
    wait_us = None if fault.kind == "429-no-retry" else int(fault.retry * SECOND_US)
    return quota_refusal([(metric, quota_id, limit)], model, wait_us=wait_us, outcome=outcome)


def broken_answer(fault: Fault, asked: Asked, model: str, good: Json) -> Json:
    """The answer of a fault that is an answer: well-formed, and not what was asked for."""
    text = good["candidates"][0]["content"].get("parts", [{}])[0].get("text", "")

    def candidate(finish: str, **more: Any) -> list[Json]:
        return [{"finishReason": finish, "index": 0, **more}]

    def saying(said: str) -> Json:
        return {"role": "model", "parts": [{"text": said}]}

    match fault.kind:
        case "no-candidates":
            return finished(asked, model, [])
        case "blocked":
            feedback = {"blockReason": "SAFETY", "safetyRatings": RATINGS}
            return {"promptFeedback": feedback, **finished(asked, model, [])}
        case "safety":
            return finished(asked, model, candidate("SAFETY", safetyRatings=RATINGS))
        case "recitation":
            return finished(asked, model, candidate("RECITATION"))
        case "truncated":
            return finished(
                asked, model, candidate("MAX_TOKENS", content=saying(text[: max(1, len(text) // 2)]))
            )
        case "no-text":
            return finished(asked, model, candidate("STOP", content=saying("")))
        case "no-parts":
            return finished(asked, model, candidate("STOP", content={"role": "model"}))
        case "malformed":
            said = "Malformed function call: call:default_api:lookup{"
            return finished(
                asked, model, candidate("MALFORMED_FUNCTION_CALL", content={}, finishMessage=said)
            )
        case "schema":
            return finished(asked, model, candidate("STOP", content=saying(_misfit(text))))
    raise AssertionError(fault.kind)


def _misfit(fitting: str) -> str:
    """JSON of another type than the answer that fits."""
    try:
        is_list = isinstance(json.loads(fitting), list)
    except ValueError:
        is_list = False
    return '{"this": "does not fit the schema"}' if is_list else '["this does not fit the schema"]'


async def broken_body(request: web.BaseRequest, fault: Fault, body: bytes) -> web.StreamResponse:
    """Send `body`, the good answer, the way the fault has it."""
    match fault.kind:
        case "not-json":
            return reply(b"upstream connect error or disconnect/reset before headers")
        case "half-json":
            return reply(body[: len(body) // 2])
        case "empty":
            return reply(b"")
        case "charset":
            said = '{"candidates": [{"content": {"role": "model", "parts": [{"text": "caf\xe9"}]}}]}'
            return reply(said.encode("latin-1"))
        case "huge":
            return await _huge(request, fault.mb)
        case "drip":
            return await _drip(request, body, 30.0 if fault.s is None else fault.s)
        case "reset":
            await _half(request, body)
            return _closed(request)
        case "hang":
            await asyncio.sleep(3600.0 if fault.s is None else fault.s)
            return _closed(request)
    return _closed(request)  # drop


def reply(body: bytes, status: int = 200, content_type: str = JSON) -> web.Response:
    return web.Response(body=body, status=status, headers={"Content-Type": content_type})


def refused(refusal: Refusal) -> web.Response:
    if refusal.code == 502 and refusal.outcome.startswith("fault:"):
        return reply(HTML_502, 502, "text/html; charset=UTF-8")
    return reply(refusal.body(), refusal.code)


def _closed(request: web.BaseRequest) -> web.Response:
    """Close the connection at once (a reset, not a FIN); the response returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _started(request: web.BaseRequest, length: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": JSON, "Content-Length": str(length)})
    await response.prepare(request)
    return response


async def _half(request: web.BaseRequest, body: bytes) -> None:
    response = await _started(request, len(body))
    await response.write(body[: len(body) // 2])


async def _drip(request: web.BaseRequest, body: bytes, seconds: float) -> web.StreamResponse:
    response = await _started(request, len(body))
    size = max(1, -(-len(body) // DROPS))
    for start in range(0, len(body), size):
        await asyncio.sleep(seconds / DROPS)
        await response.write(body[start : start + size])
    await response.write_eof()
    return response


async def _huge(request: web.BaseRequest, mb: int) -> web.StreamResponse:
    head = b'{"candidates": [{"finishReason": "STOP", "index": 0, "content": {"role": "model", "parts": [{"text": "'
    tail = b'"}]}}]}'
    pieces = mb * 1024 * 1024 // PIECE
    response = await _started(request, len(head) + pieces * PIECE + len(tail))
    await response.write(head)
    piece = b"x" * PIECE
    for _ in range(pieces):
        await response.write(piece)
    await response.write(tail)
    await response.write_eof()
    return response
