"""A job's hash, as it is read: the record that users see, and what workers need to know of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchq.core.forecast import Pace, eta_s
from batchq.core.job import Change, JobRecord, Slow
from batchq.core.latency import percentiles
from batchq.core.lifecycle import ENDED, HOLD_REASONS, HoldCause, JobState
from batchq.core.records import JsonObject

NANO = 1_000_000_000  # cost is counted in whole nano-dollars


@dataclass(frozen=True, slots=True)
class Lane:
    """An (operation, model) in a job: one quota and one Celery queue."""

    number: int
    operation: str
    model: str | None

    def wire(self) -> list[Any]:
        return [self.operation, self.model]


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What workers need to know of a job; it does not change once sealed."""

    id: str
    lanes: tuple[Lane, ...]
    options: JsonObject
    schema: JsonObject | None
    priority: int
    rpm: int | None
    concurrency: int | None
    tpm: int | None  # input tokens a minute
    deadline_ms: int | None
    total: int
    shards: int
    created_ms: int
    retention_ms: int  # 0: for ever
    schema_of: str | None = None  # the operation whose own schema it is; None: the job brought it, for all
    not_before_ms: int = 0  # nothing of it goes out before, by the store's clock
    budgeted: bool = False  # its calls are reckoned before they are made; the limit itself may be raised
    all_or_nothing: bool = False  # its results are published only when every item succeeded
    destination: str | None = None  # the URL at which workers publish them; None: whoever wants them asks
    webhook: str | None = None  # the address that hears of its pauses and its end
    project: str | None = None  # the only one whose workers may ask its models; None: whichever
    birth: str = ""  # a job that is submitted under the id of a deleted one has another

    @property
    def has_vectors(self) -> bool:
        """Whether embeddings are among its results."""
        return any(lane.operation == "embed" for lane in self.lanes)

    def schema_for(self, lane: Lane) -> JsonObject | None:
        """What answers of a lane must fit."""
        return self.schema if self.schema_of in (None, lane.operation) else None

    def project_of(self, lane: Lane) -> str | None:
        """Whose workers alone may run a lane's items; None: anybody's."""
        return self.project if lane.model is not None else None


@dataclass(frozen=True, slots=True)
class NewerJob:
    """A job that a newer batchq stored: that it is there is all this one can tell. `why` says what to do."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the sweeper notes of an open job. `held_until_ms` None: it is not held; 0: until somebody resumes it."""

    held_until_ms: int | None
    why: str
    pace: Pace
    allowed_per_hour: int  # items, by its quotas; 0: no limit is known
    soonest_ms: int  # its quotas cannot have it ended before, whatever its pace; Unix


@dataclass(frozen=True, slots=True)
class Progress:
    """What a forecast is made from. `left` are the items of each lane that are not settled."""

    settled: int
    left: tuple[int, ...]
    pace: Pace | None
    held: bool  # somebody, or an error, paused the job
    now_ms: int


def optional_int(text: str | None) -> int | None:
    return int(text) if text else None


def lanes_of(raw: Mapping[str, str]) -> tuple[Lane, ...]:
    return tuple(
        Lane(number, operation, model)
        for number, (operation, model) in enumerate(json.loads(raw.get("lanes", "[]")))
    )


def state_of(raw: Mapping[str, str]) -> JobState:
    """Shown states: a cancelled job is cancelled from the flag on, a held one paused."""
    state = JobState(raw["state"])
    if state in (JobState.PENDING, JobState.PROCESSING):
        if raw.get("cancel") == "cancel":
            return JobState.CANCELLED
        if raw.get("holds"):
            return JobState.PAUSED
    return state


def _reason(raw: Mapping[str, str]) -> str | None:
    if raw.get("cancel") == "deadline":
        return "deadline"
    causes = [cause for cause in raw.get("holds", "").split(",") if cause]
    if not causes:
        return None
    return "; ".join(raw.get(f"why:{cause}") or HOLD_REASONS[HoldCause(cause)] for cause in causes)


def _destination(raw: Mapping[str, str]) -> JsonObject | None:
    url = raw.get("out_shown")
    if not url:
        return None
    state = raw.get("out_state") or ("withheld" if JobState(raw["state"]) in ENDED else "waiting")
    return {
        "url": url,
        "state": state,
        "written": int(raw.get("out_written", 0)),
        "tries": int(raw.get("out_tries", 0)),
        "error": raw.get("out_error") or None,
    }


def _seconds(raw: Mapping[str, str], name: str) -> float | None:
    return int(raw[name]) / 1000 if raw.get(name) else None


def slowest_of(flat: Sequence[Any]) -> dict[int, int]:
    """Position -> duration in ms. redis-py gives pairs or a flat list, by protocol version."""
    pairs = (
        flat if flat and isinstance(flat[0], list | tuple) else list(zip(flat[::2], flat[1::2], strict=True))
    )
    return {int(position): int(float(duration)) for position, duration in pairs}


def _held_by_quota(raw: Mapping[str, str], now: float) -> float | None:
    """Until when (Unix seconds) all of an open job's quotas are held, as the sweeper noted; inf: until lifted."""
    until = raw.get("q_until")
    if not until or JobState(raw["state"]) in ENDED or raw.get("cancel"):
        return None
    ends = int(until) / 1000 if until != "0" else math.inf
    return ends if ends > now else None


def record_of(
    job_id: str, raw: Mapping[str, str], slow: Mapping[int, int], log: Sequence[bytes], now: float
) -> JobRecord:
    def number(name: str) -> int:
        return int(raw.get(name, 0))

    buckets = {
        int(name[3:]): int(n) for name, n in raw.items() if name.startswith("lat") and name[3:].isdigit()
    }
    held = _held_by_quota(raw, now)
    state, reason, resumes_at = state_of(raw), _reason(raw), None
    if held is not None and state in (JobState.PENDING, JobState.PROCESSING):
        state, reason = JobState.PAUSED, raw.get("q_why") or None
        resumes_at = held if held < math.inf else None
    if state is JobState.PROCESSING and raw.get("out_state") == "writing":
        reason = "its results are being written"
    not_before = _seconds(raw, "not_before")
    starts_in_s = max(0.0, (not_before or now) - now)
    if state is JobState.PENDING and starts_in_s:
        reason = f"not before {datetime.fromtimestamp(not_before or now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    eta, pace = None, Pace.from_wire(raw.get("pace"))
    if state not in ENDED and (state is not JobState.PAUSED or resumes_at is not None):
        wait_s = max(starts_in_s, (resumes_at or now) - now)
        left = number("pending") + number("processing")
        eta = eta_s(
            left, pace.per_hour if pace else 0, number("allowed"), wait_s, number("soonest") / 1000 - now
        )
    lanes = lanes_of(raw)
    tokens, cost = number("input_tokens") + number("output_tokens"), number("cost_nano") / NANO
    priced = bool(cost) or not number("input_tokens")
    # a call that a crash cut off was paid as well; nobody saw its answer, so it counts as much as others on average
    lost = number("repeated") / max(1, number("requests") - number("repeated"))
    return JobRecord(
        id=job_id,
        state=state,
        reason=reason,
        operation=raw.get("operation", ""),
        model=raw.get("model") or (lanes[0].model if len(lanes) == 1 else None),
        options=json.loads(raw.get("options", "{}")),
        metadata=json.loads(raw.get("metadata", "{}")),
        run=raw.get("run"),
        total=number("total"),
        succeeded=number("n_S"),
        failed=number("n_F"),
        dead_letter=number("n_D"),
        cancelled=number("n_X"),
        pending=number("pending"),
        processing=number("processing"),
        created_at=number("created") / 1000,
        started_at=_seconds(raw, "started"),
        finished_at=_seconds(raw, "finished"),
        requests=number("requests"),
        rate_limited=number("rate_limited"),
        retries=number("retries"),
        repeated=number("repeated"),
        input_tokens=number("input_tokens"),
        output_tokens=number("output_tokens"),
        cached_tokens=number("cached_tokens"),
        cost_usd=cost if priced else None,
        wasted_tokens=number("wasted_tokens") + round(lost * tokens),
        wasted_usd=number("wasted_nano") / NANO + lost * cost if priced else None,
        latency_ms=percentiles(buckets, number("lat_max")),
        slowest=tuple(Slow("", position, ms) for position, ms in slow.items()),
        errors={name[4:]: int(n) for name, n in raw.items() if name.startswith("err:") and int(n) > 0},
        history=tuple(Change(**json.loads(line)) for line in log),
        all_or_nothing=raw.get("all_or_nothing") == "1",
        destination=_destination(raw),
        max_cost=number("max_nano") / NANO if raw.get("max_nano") else None,
        not_before=not_before,
        deadline=_seconds(raw, "deadline"),
        priority=int(raw.get("priority", 5)),
        rpm=optional_int(raw.get("rpm")),
        concurrency=optional_int(raw.get("concurrency")),
        tpm=optional_int(raw.get("tpm")),
        eta=eta,
        pace=pace.per_hour / 3600 if pace else 0.0,
        idle_s=pace.idle_ms / 1000 if pace else 0.0,
        resumes_at=resumes_at,
        error=raw.get("error"),
        now=now,
    )


def change_line(change: str, by: str, why: str) -> str:
    """A line of history without its braces and time, which the script adds."""
    return json.dumps({"change": change, "by": by, "why": why})[1:-1]
