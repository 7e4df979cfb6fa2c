"""The state behind the emulator's handlers, and what a call takes of it: quota, faults, time, an answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from batchq.emulator import asked as asking
from batchq.emulator.asked import Asked, Embedding
from batchq.emulator.faults import ANSWER_KINDS, Fault, FaultBook, directives_in
from batchq.emulator.labels import load_labels
from batchq.emulator.limits import Limiter
from batchq.emulator.misbehaviour import broken_answer
from batchq.emulator.options import EmulatorOptions
from batchq.emulator.reader import Files
from batchq.emulator.recording import Call, Recorder
from batchq.emulator.refusals import VERTEX_429, Refusal, invalid, over_quota
from batchq.emulator.replies import embedded, generated
from batchq.emulator.routes import Route
from batchq.emulator.shelf import Shelf
from batchq.errors import ConfigurationError

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


def task_of(route: Route, model: str, call: Call, body: bytes, files: Files | None = None) -> Task:
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
            asked = asking.read_generate(raw, files)
            return Task(route, model, call, asked, [], asked.problem)
    return Task(route, model, call, None, texts, problem)


class Emulation:
    """Everything runs on one loop; `configure` and `reset` too."""

    def __init__(self, options: EmulatorOptions) -> None:
        self._epoch_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000
        self._labels = load_labels(options.answers)
        self.options = options
        self.limiter = Limiter(options.window, options.burst)
        self.shelf = Shelf(lambda: self.now_us() / 1e6)
        self.reset()

    def now_us(self) -> int:
        """The Unix clock as it was at the start, run on by the steady clock: jumps do not move the windows."""
        return self._epoch_us + time.monotonic_ns() // 1000

    def now_s(self) -> float:
        """Since the start or the last reset."""
        return (self.now_us() - self._began_us) / 1e6

    def stats(self) -> dict[str, Any]:
        """See recording.Recorder.stats; `files` are those of the Files API."""
        return self.recorder.stats(self.now_s()) | {"files": self.shelf.stats()}

    def files_of(self, project: str) -> Files:
        """The uploaded files of a project, by name."""

        def read(name: str) -> tuple[bytes, dict[str, int]]:
            file = self.shelf.used(name, project)
            return file.digest, file.tokens

        return read

    def reset(self) -> None:
        """Forget everything seen: counts, quotas used, what faults have struck, the dice. Uploaded files stay."""
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

    def fault_of(self, task: Task) -> Fault | None:
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

    def admit(self, task: Task, project: str) -> None:
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

    async def think(self, call: Call, fault: Fault | None) -> None:
        seconds = self.options.latency_s
        if seconds and self.options.latency_sigma:
            seconds *= self._latency.lognormvariate(0.0, self.options.latency_sigma)
        if fault is not None and fault.kind == "slow":
            seconds += SLOW_S if fault.s is None else fault.s
        call.latency_s = seconds
        if seconds:
            await asyncio.sleep(seconds)

    def good_answer(self, task: Task, fault: Fault | None) -> bytes:
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
