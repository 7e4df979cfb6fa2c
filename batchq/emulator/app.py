"""The emulator's HTTP handlers, on aiohttp's bare server: no router, no middleware, little CPU a request."""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from hashlib import sha256
from urllib.parse import parse_qs

from aiohttp import web

from batchq.emulator.admin import administer
from batchq.emulator.emulation import Emulation, Task, task_of
from batchq.emulator.faults import ANSWER_KINDS, STATUS_KINDS
from batchq.emulator.files_api import is_of_files, serve_files
from batchq.emulator.misbehaviour import broken_body, refusal_of, refused, reply
from batchq.emulator.reader import Files
from batchq.emulator.recording import Call
from batchq.emulator.refusals import Refusal, invalid
from batchq.emulator.replies import counted
from batchq.emulator.routes import Route, caller, check_model, model_record, models_listed, route_of

SMALL = 256 * 1024  # bytes of a body that is read on the loop; larger ones go to a thread


class App:
    def __init__(self, emulation: Emulation) -> None:
        self._state = emulation

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/emulator/"):
            return await administer(self._state, request, path, query)
        if is_of_files(path):
            try:
                return await serve_files(self._state, request, path, query)
            except Refusal as refusal:
                await self._body(request)
                return refused(refusal)
        try:
            route = route_of(path)
            if route is None or (request.method == "POST") is not (route.method is not None):
                raise Refusal(404)
            key = request.headers.get("x-goog-api-key") or parse_qs(query).get("key", [None])[0]
            project = caller(route, key, request.headers.get("Authorization"), self._state.options.bad_keys)
            if route.method is not None:
                return await self._called(request, route, project, query)
            more = self._state.options.models
            listed = model_record(route, route.model, more) if route.model else models_listed(route, more)
            return reply(json.dumps(listed).encode())
        except Refusal as refusal:
            if request.method == "POST":
                self._turned_away(route, refusal)
                await self._body(request)  # read it, else the caller's sending breaks off before the answer
            return refused(refusal)

    def _turned_away(self, route: Route | None, refusal: Refusal) -> None:
        """A call that failed at the door (path, key) is counted, under no project."""
        where = route or Route("", False, None, "", None, None)
        call = self._state.recorder.arrived(self._state.now_s(), where.method or "", where.model or "", "")
        call.outcome, call.status = refusal.outcome, refusal.code
        self._state.recorder.ended(call, self._state.now_s())

    async def _called(
        self, request: web.BaseRequest, route: Route, project: str, query: str
    ) -> web.StreamResponse:
        assert route.model
        assert route.method
        shown = project if route.project else _masked(project)
        call = self._state.recorder.arrived(self._state.now_s(), route.method, route.model, shown)
        try:
            body = await self._body(request)
            response = await self._answer(request, route, project, call, body, "alt=sse" in query)
            call.status = response.status if request.transport is not None else 0
            return response
        except Refusal as refusal:
            call.outcome, call.status = refusal.outcome, refusal.code
            return refused(refusal)
        finally:
            self._state.recorder.ended(call, self._state.now_s())

    async def _answer(
        self, request: web.BaseRequest, route: Route, project: str, call: Call, body: bytes | None, sse: bool
    ) -> web.StreamResponse:
        model = check_model(route, self._state.options.models)
        if body is None:
            raise invalid(
                f"Request payload size exceeds the limit: {self._state.options.max_request_bytes} bytes."
            )
        task = await self._read(route, model, call, body, self._state.files_of(project))
        if route.method == "countTokens":
            if task.problem:
                raise task.problem
            assert task.asked
            call.outcome = "answered"
            return reply(counted(task.asked))
        fault = self._state.fault_of(task)
        if fault is not None and fault.before_quota:
            raise refusal_of(fault, model, embeds=route.embeds, vertex=route.vertex)
        if task.problem:
            raise task.problem
        self._state.admit(task, project)
        await self._state.think(call, fault)
        if fault is not None and fault.kind in STATUS_KINDS:
            raise refusal_of(fault, model, embeds=route.embeds, vertex=route.vertex)
        good = self._state.good_answer(task, fault)
        if fault is not None:
            call.outcome = f"fault:{fault.kind}" if fault.kind != "slow" else "answered"
            if fault.kind not in ANSWER_KINDS and fault.kind != "slow":
                return await broken_body(request, fault, good)
        else:
            call.outcome = "answered"
        if route.method == "streamGenerateContent":
            if sse:
                return reply(b"data: " + good + b"\r\n\r\n", content_type="text/event-stream")
            return reply(b"[" + good + b"]")
        return reply(good)

    async def _body(self, request: web.BaseRequest) -> bytes | None:
        """The whole body; None, after reading to its end, where it is larger than allowed."""
        most = self._state.options.max_request_bytes
        pieces: list[bytes] = []
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
            if size <= most:
                pieces.append(piece)
            else:
                pieces.clear()
        return None if size > most else b"".join(pieces)

    async def _read(self, route: Route, model: str, call: Call, body: bytes, files: Files) -> Task:
        if len(body) <= SMALL:
            task = task_of(route, model, call, body, files)
        else:
            task = await asyncio.to_thread(task_of, route, model, call, body, files)
        if task.asked is not None and route.method != "countTokens":
            self._state.recorder.asked(call, task.asked.prompt, task.asked.key)
        for text in task.texts:
            self._state.recorder.asked(call, text.prompt, text.key)
        return task


@lru_cache(maxsize=1024)
def _masked(key: str) -> str:
    return key if len(key) <= 12 else f"{key[:4]}…{sha256(key.encode()).hexdigest()[:8]}"
