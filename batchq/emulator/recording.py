"""What the emulator saw: counts by outcome, model and prompt; when it admitted; who is in a call now.

Memory is bounded: prompts are known by the first 8 bytes of their digest, texts are kept of the first few.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

WINDOW_S = 60.0
TEXTS_KEPT = 20_000
TEXT_KEPT = 200  # characters
ADMISSIONS_KEPT = 5_000_000  # of a series; older ones are dropped


@dataclass(slots=True)
class Call:
    """One request to a model, from its arrival to its end."""

    number: int  # from 0
    at_s: float  # since the emulator started, or was reset
    method: str
    model: str
    project: str  # a key only by its first characters and a digest
    outcome: str = (
        "abandoned"  # answered, rate_limited, refused, fault:KIND; abandoned: the caller left first
    )
    status: int = 0  # 0: nothing was answered
    keys: list[bytes] = field(default_factory=list)  # of the prompts; a batch of embeddings has many
    input_tokens: int = 0
    latency_s: float = 0.0  # drawn for it; what it took is ended_s - at_s
    ended_s: float = 0.0

    def record(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "at_s": round(self.at_s, 6),
            "duration_s": round(self.ended_s - self.at_s, 6),
            "latency_s": round(self.latency_s, 6),
            "method": self.method,
            "model": self.model,
            "project": self.project,
            "outcome": self.outcome,
            "status": self.status,
            "prompts": [key.hex() for key in self.keys[:10]],
            "input_tokens": self.input_tokens,
        }


@dataclass(slots=True)
class Series:
    """When calls of one (project, model) were admitted, and the most requests and tokens in any 60 s.

    A call is one request, save a batch of embeddings, which is as many as it has texts.
    """

    times_s: array[float] = field(default_factory=lambda: array("d"))
    requests: array[int] = field(default_factory=lambda: array("q"))
    tokens: array[int] = field(default_factory=lambda: array("q"))
    most_requests: int = 0
    most_tokens: int = 0
    admitted: int = 0
    _oldest: int = 0  # index of the first one in the window that ends now
    _requests_in: int = 0
    _tokens_in: int = 0

    def add(self, at_s: float, requests: int, tokens: int) -> None:
        times = self.times_s
        times.append(at_s)
        self.requests.append(requests)
        self.tokens.append(tokens)
        self.admitted += requests
        self._requests_in += requests
        self._tokens_in += tokens
        while at_s - times[self._oldest] >= WINDOW_S:
            self._requests_in -= self.requests[self._oldest]
            self._tokens_in -= self.tokens[self._oldest]
            self._oldest += 1
        self.most_requests = max(self.most_requests, self._requests_in)
        self.most_tokens = max(self.most_tokens, self._tokens_in)
        if len(times) > ADMISSIONS_KEPT and self._oldest:
            del times[: self._oldest], self.requests[: self._oldest], self.tokens[: self._oldest]
            self._oldest = 0


class Recorder:
    """All counts since the start or the last reset. Used by one thread only: the loop's."""

    def __init__(self, keep_calls: int, keep_prompts: int) -> None:
        self._keep_prompts = keep_prompts
        self.requests = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.methods: Counter[str] = Counter()
        self.models: dict[str, Counter[str]] = {}
        self.input_tokens = 0
        self.output_tokens = 0
        self.series: dict[tuple[str, str], Series] = {}
        self.all = Series()
        self.calls: deque[Call] = deque(maxlen=keep_calls)
        self.uncounted_prompts = 0  # requests whose prompt came after the last that is kept
        self._seen: dict[int, int] = {}
        self._answered: dict[int, int] = {}
        self._texts: dict[int, str] = {}

    def arrived(self, at_s: float, method: str, model: str, project: str) -> Call:
        call = Call(self.requests, at_s, method, model, project)
        self.requests += 1
        self.methods[method] += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        return call

    def asked(self, call: Call, prompt: str, key: bytes) -> None:
        """A prompt of the call; counted whether it is refused or answered."""
        call.keys.append(key)
        short = int.from_bytes(key[:8])
        count = self._seen.get(short)
        if count is None:
            if len(self._seen) >= self._keep_prompts:
                self.uncounted_prompts += 1
                return
            if len(self._texts) < TEXTS_KEPT:
                self._texts[short] = prompt[:TEXT_KEPT]
            count = 0
        self._seen[short] = count + 1

    def admitted(self, call: Call, at_s: float, requests: int, tokens: int) -> None:
        """The call passed the quotas, as so many requests."""
        call.input_tokens = tokens
        self.input_tokens += tokens
        place = (call.project, call.model)
        series = self.series.get(place)
        if series is None:
            series = self.series[place] = Series()
        series.add(at_s, requests, tokens)
        self.all.add(at_s, requests, tokens)

    def ended(self, call: Call, at_s: float) -> None:
        call.ended_s = at_s
        self.in_flight -= 1
        self.outcomes[call.outcome] += 1
        self.statuses[call.status] += 1
        self.models.setdefault(call.model, Counter())[call.outcome] += 1
        self.calls.append(call)
        if call.outcome == "answered":
            for key in call.keys:
                short = int.from_bytes(key[:8])
                if short in self._seen:
                    self._answered[short] = self._answered.get(short, 0) + 1

    def stats(self, now_s: float) -> dict[str, Any]:
        return {
            "uptime_s": round(now_s, 3),
            "requests": self.requests,
            "admitted": self.all.admitted,
            "answered": self.outcomes["answered"],
            "rate_limited": self.outcomes["rate_limited"],
            "refused": self.outcomes["refused"],
            "abandoned": self.outcomes["abandoned"],
            "faults": sum(count for outcome, count in self.outcomes.items() if outcome.startswith("fault:")),
            "outcomes": dict(self.outcomes),
            "methods": dict(self.methods),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "models": {model: dict(counts) for model, counts in self.models.items()},
            "quotas": [
                {
                    "project": project,
                    "model": model,
                    "admitted": series.admitted,
                    "most_requests_in_60_s": series.most_requests,
                    "most_input_tokens_in_60_s": series.most_tokens,
                }
                for (project, model), series in self.series.items()
            ],
            "most_requests_in_60_s": self.all.most_requests,
            "most_input_tokens_in_60_s": self.all.most_tokens,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "distinct_prompts": len(self._seen),
            "most_requests_of_a_prompt": max(self._seen.values(), default=0),
            "most_answers_of_a_prompt": max(self._answered.values(), default=0),
            "uncounted_prompts": self.uncounted_prompts,
        }

    def prompts(self) -> Iterator[dict[str, Any]]:
        """Each prompt as it is now: the first 16 digits of its key, its requests, its answers, its text where kept.

        The copies are made at once; the iterator may be read on another thread.
        """
        return _rows(list(self._seen.items()), dict(self._answered), dict(self._texts))

    def requests_of(self, key: bytes) -> int:
        return self._seen.get(int.from_bytes(key[:8]), 0)


def _rows(
    seen: list[tuple[int, int]], answered: dict[int, int], texts: dict[int, str]
) -> Iterator[dict[str, Any]]:
    for short, count in seen:
        yield {
            "key": f"{short:016x}",
            "requests": count,
            "answered": answered.get(short, 0),
            "text": texts.get(short),
        }
