"""The emulator's HTTP handlers, on aiohttp's bare server: no router, no middleware, little CPU a request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from batchq.emulator import asked as asking
from batchq.emulator.admin import administer
from batchq.emulator.asked import Asked, Embedding
from batchq.emulator.faults import ANSWER_KINDS, STATUS_KINDS, Fault, FaultBook, directives_in
from batchq.emulator.labels import load_labels
from batchq.emulator.limits import Limiter
from batchq.emulator.misbehaviour import broken_answer, broken_body, refusal_of, refused, reply
from batchq.emulator.options import EmulatorOptions
from batchq.emulator.recording import Call, Recorder
from batchq.emulator.refusals import VERTEX_429, Refusal, invalid, over_quota
from batchq.emulator.replies import counted, embedded, generated
from batchq.emulator.routes import Route, caller, check_model, model_record, models_listed, route_of
from batchq.errors import ConfigurationError

SMALL = 256 * 1024  # bytes of a body that is read on the loop; larger ones go to a thread
SLOW_S = 5.0  # of the fault `slow`


@dataclass(slots=True)
class Task:
    """One call on its way to an answer."""

    route: Route
    model: str
    call: Call
    asked: Asked | None  # of generateContent and countTokens
    texts: list[Embedding]  # of the embedding methods
    problem: Refusal | None

    @property
    def tokens(self) -> int:
        if self.asked is not None:
            return self.asked.content.token_count
        return sum(one.content.token_count for one in self.texts)


class Emulation:
    """The state behind the handlers. Everything runs on one loop; `configure` and `reset` too."""

    def __init__(self, options: EmulatorOptions) -> None:
        self._epoch_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000
        self._labels = load_labels(options.answers)
        self.options = options
        self.limiter = Limiter(options.window, options.burst)
        self.reset()

    def now_us(self) -> int:
        """The Unix clock as it was at the start, run on by the steady clock: jumps do not move the windows."""
        return self._epoch_us + time.monotonic_ns() // 1000

    def now_s(self) -> float:
        """Since the start or the last reset."""
        return (self.now_us() - self._began_us) / 1e6

    def reset(self) -> None:
        """Forget everything seen: counts, quotas used, what faults have struck, the dice."""
        self._began_us = self.now_us()
        self.recorder = Recorder(self.options.keep_calls, self.options.keep_prompts)
        self.limiter = Limiter(self.options.window, self.options.burst)
        self._begin_faults()
        self._latency = Random(self.options.seed)

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change options at once; what was counted stays. Raises ConfigurationError."""
        options = self.options.changed(changes)
        labels = load_labels(options.answers) if "answers" in changes else self._labels
        if (options.window, options.burst) != (self.options.window, self.options.burst):
            self.limiter = Limiter(options.window, options.burst)
        self.options, self._labels = options, labels
        if "faults" in changes or "seed" in changes:
            self._begin_faults()
        if "seed" in changes:
            self._latency = Random(options.seed)

    def _begin_faults(self) -> None:
        self.faults = FaultBook(self.options.faults, self.options.seed, self.now_us())

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/emulator/"):
            return await administer(self, request, path, query)
        try:
            route = route_of(path)
            if route is None or (request.method == "POST") is not (route.method is not None):
                raise Refusal(404)
            key = request.headers.get("x-goog-api-key") or parse_qs(query).get("key", [None])[0]
            project = caller(route, key, request.headers.get("Authorization"), self.options.bad_keys)
            if route.method is not None:
                return await self._called(request, route, project, query)
            more = self.options.models
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
        call = self.recorder.arrived(self.now_s(), where.method or "", where.model or "", "")
        call.outcome, call.status = refusal.outcome, refusal.code
        self.recorder.ended(call, self.now_s())

    async def _called(
        self, request: web.BaseRequest, route: Route, project: str, query: str
    ) -> web.StreamResponse:
        assert route.model
        assert route.method
        shown = project if route.project else _masked(project)
        call = self.recorder.arrived(self.now_s(), route.method, route.model, shown)
        try:
            body = await self._body(request)
            response = await self._answer(request, route, project, call, body, "alt=sse" in query)
            call.status = response.status if request.transport is not None else 0
            return response
        except Refusal as refusal:
            call.outcome, call.status = refusal.outcome, refusal.code
            return refused(refusal)
        finally:
            self.recorder.ended(call, self.now_s())

    async def _answer(
        self, request: web.BaseRequest, route: Route, project: str, call: Call, body: bytes | None, sse: bool
    ) -> web.StreamResponse:
        model = check_model(route, self.options.models)
        if body is None:
            raise invalid(f"Request payload size exceeds the limit: {self.options.max_request_bytes} bytes.")
        task = await self._read(route, model, call, body)
        if route.method == "countTokens":
            if task.problem:
                raise task.problem
            assert task.asked
            call.outcome = "answered"
            return reply(counted(task.asked))
        fault = self._fault(task)
        if fault is not None and fault.before_quota:
            raise refusal_of(fault, model, embeds=route.embeds, vertex=route.vertex)
        if task.problem:
            raise task.problem
        self._admit(task, project)
        await self._think(call, fault)
        if fault is not None and fault.kind in STATUS_KINDS:
            raise refusal_of(fault, model, embeds=route.embeds, vertex=route.vertex)
        good = self._good(task, fault)
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
        most = self.options.max_request_bytes
        pieces: list[bytes] = []
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
            if size <= most:
                pieces.append(piece)
            else:
                pieces.clear()
        return None if size > most else b"".join(pieces)

    async def _read(self, route: Route, model: str, call: Call, body: bytes) -> Task:
        if len(body) <= SMALL:
            task = _task(route, model, call, body)
        else:
            task = await asyncio.to_thread(_task, route, model, call, body)
        if task.asked is not None and route.method != "countTokens":
            self.recorder.asked(call, task.asked.prompt, task.asked.key)
        for text in task.texts:
            self.recorder.asked(call, text.prompt, text.key)
        return task

    def _fault(self, task: Task) -> Fault | None:
        if not self.faults.faults and not self.options.directives:
            return None
        prompt = task.asked.prompt if task.asked else "\n".join(text.prompt for text in task.texts)
        key = task.asked.key if task.asked else b"".join(text.key for text in task.texts)
        extra: tuple[Fault, ...] = ()
        if self.options.directives:
            try:
                extra = directives_in(prompt)
            except ConfigurationError as exc:
                raise invalid(str(exc)) from exc
        return self.faults.pick(
            task.call.number,
            prompt,
            key,
            self.now_us(),
            generates=task.asked is not None,
            has_schema=task.asked is not None and task.asked.schema is not None,
            extra=extra,
        )

    def _admit(self, task: Task, project: str) -> None:
        """Take from the quotas. Raises the 429, or the 400 of a prompt too long, which costs quota all the same."""
        limits = self.options.limits_of(task.model)
        now_us = self.now_us()
        requests = max(1, len(task.texts))  # Google counts each text of a batch
        breaches = self.limiter.admit(project, task.model, limits, requests, task.tokens, now_us)
        if breaches and task.route.vertex:
            raise Refusal(429, VERTEX_429, outcome="rate_limited")
        if breaches:
            raise over_quota(breaches, task.model, embeds=task.route.embeds, now_us=now_us)
        self.recorder.admitted(task.call, (now_us - self._began_us) / 1e6, requests, task.tokens)
        if task.asked is not None and task.tokens > asking.INPUT_TOKEN_LIMIT:
            raise invalid(
                f"The input token count ({task.tokens}) exceeds the maximum number of tokens allowed "
                f"({asking.INPUT_TOKEN_LIMIT})."
            )

    async def _think(self, call: Call, fault: Fault | None) -> None:
        seconds = self.options.latency_s
        if seconds and self.options.latency_sigma:
            seconds *= self._latency.lognormvariate(0.0, self.options.latency_sigma)
        if fault is not None and fault.kind == "slow":
            seconds += SLOW_S if fault.s is None else fault.s
        call.latency_s = seconds
        if seconds:
            await asyncio.sleep(seconds)

    def _good(self, task: Task, fault: Fault | None) -> bytes:
        """The answer's body, with the fault in it where the fault is one of answers. Raises Refusal."""
        if task.asked is None:
            assert task.route.method
            return embedded(task.texts, task.model, task.route.method, task.route.vertex)
        answer = generated(task.asked, task.model, self._labels)
        if fault is not None and fault.kind in ANSWER_KINDS:
            answer = broken_answer(fault, task.asked, task.model, answer)
        usage = answer["usageMetadata"]
        self.recorder.output_tokens += usage["totalTokenCount"] - usage["promptTokenCount"]
        return json.dumps(answer).encode()


def _task(route: Route, model: str, call: Call, body: bytes) -> Task:
    """Read a body. Raises Refusal where it is no JSON object."""
    raw = asking.load(body)
    match route.method:
        case "batchEmbedContents":
            texts, problem = asking.read_embeddings(raw.get("requests"))
        case "embedContent":
            texts, problem = asking.read_embeddings([raw])
        case "predict":
            texts, problem = asking.read_predict(raw)
        case _:
            asked = asking.read_generate(raw)
            return Task(route, model, call, asked, [], asked.problem)
    return Task(route, model, call, None, texts, problem)


@lru_cache(maxsize=1024)
def _masked(key: str) -> str:
    return key if len(key) <= 12 else f"{key[:4]}…{sha256(key.encode()).hexdigest()[:8]}"
