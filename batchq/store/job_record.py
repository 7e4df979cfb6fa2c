"""A job's hash, as it is read: the record that users see, and what workers need to know of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchq.core.forecast import SHORTEST_MS, Pace
from batchq.core.job import Change, JobRecord, Slow
from batchq.core.latency import percentiles
from batchq.core.lifecycle import ENDED, HOLD_REASONS, HoldCause, JobState
from batchq.core.records import JsonObject
from batchq.core.wording import duration

OPEN = (JobState.PENDING, JobState.PROCESSING, JobState.PAUSED)
NANO = 1_000_000_000  # cost is counted in whole nano-dollars
RUN_EMULATOR = "run_emulator"  # the project of workers of a run's own emulator; Google's have no "_"


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
        """Whose workers alone may run a lane's items; None: anybody's but those of a run's emulator."""
        return self.project if lane.model is not None else None

    def is_for(self, lane: Lane, project: str) -> bool:
        """Whether workers of a project may run a lane's items (docs/decisions/0020)."""
        pinned = self.project_of(lane)
        if pinned is None:
            return lane.model is None or project != RUN_EMULATOR
        return pinned == project


@dataclass(frozen=True, slots=True)
class NewerJob:
    """A job that a newer batchq stored: that it is there is all this one can tell. `why` says what to do."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is foreseen of an open job: as the sweeper notes it, or as a reader finds it just now. Times are Unix ms.

    `held_until_ms` None: not all of its quotas are held; 0: until somebody resumes one.
    """

    pace: Pace | None
    held_until_ms: int | None = None
    why: str = ""  # it is held, or waits though it is not
    until_ms: int = 0  # what it waits for, where that has an end
    quota: str = ""  # of which `why` speaks
    ends_ms: int | None = None  # None: nothing tells


@dataclass(frozen=True, slots=True)
class Progress:
    """What a forecast is made from. `left` are the items of each lane that are not settled."""

    settled: int
    left: tuple[int, ...]
    pace: Pace | None
    held: bool  # somebody, or an error, paused the job
    now_ms: int
    succeeded: int
    started_ms: int | None

    @property
    def overall_per_hour(self) -> float:
        """Items that succeeded an hour since the first went out; 0.0: none yet."""
        if self.started_ms is None or not self.succeeded:
            return 0.0
        active_ms = self.now_ms - self.started_ms - (self.pace.idle_ms if self.pace else 0)
        return self.succeeded * 3_600_000 / max(active_ms, SHORTEST_MS)


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


def _causes(raw: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(cause for cause in raw.get("holds", "").split(",") if cause)


def _reason(raw: Mapping[str, str]) -> str | None:
    if raw.get("cancel") == "deadline":
        return "deadline"
    causes = _causes(raw)
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


def _noted(raw: Mapping[str, str]) -> Forecast:
    """As the sweeper last left it."""
    return Forecast(
        pace=Pace.from_wire(raw.get("pace")),
        held_until_ms=optional_int(raw.get("q_until")),
        why=raw.get("q_why", ""),
        until_ms=int(raw.get("w_until") or 0),
        quota=raw.get("q_name", ""),
        ends_ms=optional_int(raw.get("ends")),
    )


def _held_by_quota(forecast: Forecast, now: float) -> float | None:
    """Until when (Unix seconds) all of an open job's quotas are held; inf: until lifted."""
    if forecast.held_until_ms is None:
        return None
    ends = forecast.held_until_ms / 1000 or math.inf
    return ends if ends > now else None


def _waits(forecast: Forecast, now: float) -> str | None:
    """Why a job that is not held gets on slowly or not at all; None: for nothing."""
    if not forecast.why or forecast.held_until_ms is not None:
        return None
    if not forecast.until_ms:
        return forecast.why
    more_s = forecast.until_ms / 1000 - now
    return f"{forecast.why}: about {duration(round(more_s))}" if more_s > 0 else None


def record_of(
    job_id: str,
    raw: Mapping[str, str],
    slow: Mapping[int, int],
    log: Sequence[bytes],
    now: float,
    fresh: Forecast | None = None,
) -> JobRecord:
    """`fresh`: what is foreseen just now; None: what is noted holds."""

    def number(name: str) -> int:
        return int(raw.get(name, 0))

    buckets = {
        int(name[3:]): int(n) for name, n in raw.items() if name.startswith("lat") and name[3:].isdigit()
    }
    forecast = fresh or _noted(raw)
    state, reason, resumes_at = state_of(raw), _reason(raw), None
    paused_by = _causes(raw) if state is JobState.PAUSED else ()
    held = _held_by_quota(forecast, now) if state in OPEN else None
    if held is not None:
        reason = "; ".join(why for why in (reason, forecast.why) if why)
        resumes_at = held if held < math.inf and not paused_by else None
        state, paused_by = JobState.PAUSED, (*paused_by, "quota")
    waits = _waits(forecast, now) if state in (JobState.PENDING, JobState.PROCESSING) else None
    reason = reason or waits
    if state is JobState.PROCESSING and raw.get("out_state") == "writing":
        reason = "its results are being written"
    not_before = _seconds(raw, "not_before")
    if state is JobState.PENDING and (not_before or now) > now:
        reason = f"not before {datetime.fromtimestamp(not_before or now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    left, eta, pace = number("pending") + number("processing"), None, forecast.pace
    if (
        left
        and forecast.ends_ms is not None
        and state in OPEN
        and (state is not JobState.PAUSED or resumes_at)
    ):
        ends_s = forecast.ends_ms / 1000 - now
        eta = round(ends_s, 1) if ends_s > 0 else None  # noted long ago, and it did not come true
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
        paused_by=paused_by,
        waits_for=forecast.quota if held is not None or waits else None,
        error=raw.get("error"),
        now=now,
    )


def change_line(change: str, by: str, why: str) -> str:
    """A line of history without its braces and time, which the script adds."""
    return json.dumps({"change": change, "by": by, "why": why})[1:-1]
