"""A job as every reader sees it: its record, a line of its history, one of its slowest items."""

from __future__ import annotations

from dataclasses import dataclass

from batchq.core.lifecycle import ENDED, JobState
from batchq.core.records import JsonObject


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a job's history."""

    time: float  # Unix seconds
    change: str  # "submitted", "paused", "redrive of 3 items", …
    by: str  # "submitter", "person", "worker", "sweeper"
    why: str = ""


@dataclass(frozen=True, slots=True)
class Slow:
    """One of a job's slowest items."""

    id: str
    index: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as every reader sees it; `to_json()` gives the contract's field names.

    Times are Unix seconds (None: not yet). Always
    succeeded + failed + dead_letter + cancelled + pending + processing = total.
    """

    id: str
    state: JobState
    reason: str | None
    operation: str
    model: str | None
    options: JsonObject
    metadata: JsonObject
    total: int
    succeeded: int
    failed: int
    dead_letter: int
    cancelled: int
    pending: int
    processing: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    requests: int
    rate_limited: int
    retries: int
    repeated: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int  # of the input tokens
    cost_usd: float | None  # None: no price is known
    wasted_tokens: (
        int  # of attempts in vain: answers that were no good, and calls lost in a crash (as many as usual)
    )
    wasted_usd: float | None  # the same in money
    latency_ms: JsonObject  # {"p50", "p95", "max"}; empty before the first answer
    slowest: tuple[Slow, ...]
    errors: dict[str, int]  # by kind
    history: tuple[Change, ...]
    max_cost: float | None = None  # USD
    not_before: float | None = None  # Unix seconds; nothing of it goes out before
    all_or_nothing: bool = False
    destination: JsonObject | None = (
        None  # url (without secrets), state, written, tries, error; None: there is none
    )
    deadline: float | None = None
    priority: int = 5
    rpm: int | None = None
    concurrency: int | None = None
    tpm: int | None = None
    eta: float | None = None  # seconds until the last item settles; None: nothing tells yet, or it has ended
    pace: float = 0.0  # items settled a second lately, as workers saw it; 0: nothing known
    idle_s: float = 0.0  # of duration_s: paused, ended before a redrive, or without any worker
    resumes_at: float | None = None  # Unix seconds at which a pause ends by itself; None: it needs somebody
    paused_by: tuple[str, ...] = ()  # "person", "budget", "fatal", "quota"; empty: it is not paused
    waits_for: str | None = None  # the quota that holds it or has no room for it, in full
    error: str | None = None
    run: str | None = None  # digest of the `batchq run` that made it; None: something else did
    now: float = 0.0  # the store's clock when the record was read

    @property
    def settled(self) -> int:
        return self.succeeded + self.failed + self.dead_letter + self.cancelled

    @property
    def counts(self) -> dict[str, int]:
        return {
            "total": self.total,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "dead_letter": self.dead_letter,
            "cancelled": self.cancelled,
            "pending": self.pending,
            "processing": self.processing,
        }

    @property
    def duration_s(self) -> float | None:
        """From the first item going out to the end, or to now; None before."""
        if self.started_at is None:
            return None
        return max(0.0, (self.finished_at or self.now) - self.started_at)

    @property
    def rate(self) -> float:
        """Items settled a second: lately while the job is open and that is known, else since the start without the
        time it was idle and without those that were cancelled; 0 before."""
        if self.pace and self.state not in ENDED:
            return self.pace
        active_s = (self.duration_s or 0.0) - self.idle_s
        return (self.settled - self.cancelled) / active_s if active_s > 0 else 0.0

    def to_json(self) -> JsonObject:
        from dataclasses import asdict

        raw = asdict(self)
        del raw["now"], raw["run"]
        raw["state"] = str(self.state)
        raw["duration_s"] = self.duration_s
        for name, digits in _DIGITS.items():
            if raw[name] is not None:
                raw[name] = round(raw[name], digits)
        return raw


_DIGITS = {
    "duration_s": 3,
    "idle_s": 3,
    "eta": 1,
    "pace": 6,
    "cost_usd": 9,
    "wasted_usd": 9,
}  # beyond them is the noise of floats


JobStatus = JobRecord  # the name of the Python interface
