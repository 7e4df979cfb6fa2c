"""What a job waits for and when it will end, noted on its record by the sweeper's rounds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from batchq.core import window
from batchq.core.forecast import eta_s, look, soonest_s
from batchq.core.job import JobRecord
from batchq.core.lifecycle import JobState
from batchq.core.limits import QuotaLimits
from batchq.core.pacific import until_pacific_midnight_ms
from batchq.core.permits import BINDINGS
from batchq.flow.advance import UNTIL_LIFTED, hold_of
from batchq.flow.gates import Passage
from batchq.flow.walk import Walk
from batchq.operations.base import Call
from batchq.store.job_record import Forecast, JobSpec, Lane

SHOWN_MS = 5_000  # a shorter hold is no pause
LOOKED_AT = 50  # items of a lane, for what one has in tokens


def forecast(walk: Walk, spec: JobSpec) -> None:
    """Note the holds and the pace of an open job. Raises StoreUnavailable."""
    seen = walk.jobs.progress(spec.id, len(spec.lanes))
    open_lanes = [lane for lane in spec.lanes if seen.left[lane.number] > 0]
    passages = {lane.number: _passage(walk, spec, lane) for lane in open_lanes}
    holds = [(*hold_of(passage), passage) for passage in passages.values()]
    until_ms, why = None, ""
    if holds and all(hold[0] > SHOWN_MS for hold in holds):
        held_ms, cause, passage = min(holds, key=lambda hold: hold[0])
        lifted_by_hand = held_ms >= UNTIL_LIFTED
        until_ms = 0 if lifted_by_hand else seen.now_ms + held_ms
        why = _why(passage, cause, until_ms)
    waits, paused = any(hold[0] for hold in holds), seen.held or until_ms is not None
    pace = look(seen.pace, seen.settled, seen.now_ms, waits=waits, paused=paused)
    allowed = allowed_per_hour(walk, spec, [(lane, passages[lane.number]) for lane in open_lanes])
    soonest = [(passage, seen.left[number], 0.0) for number, passage in passages.items()]
    soonest_ms = seen.now_ms + int(soonest_end_s(soonest, seen.now_ms) * 1000)
    walk.jobs.note_forecast(spec.id, Forecast(until_ms, why, pace, allowed, soonest_ms))


def allowed_per_hour(walk: Walk, spec: JobSpec, lanes: list[tuple[Lane, Passage]]) -> int:
    """Items an hour that the quotas allow the job, shared with the others at work; 0: no limit is known."""
    allowed = 0.0
    for lane, passage in lanes:
        rpm = passage.rpm()
        if rpm is None:
            return 0
        member, weight = f"{spec.id}:{lane.number}", window.weight_of(spec.priority)
        weights = {member: weight, **walk.weights_of(passage.shared or walk.queue(lane.operation))}
        shared_rpm = passage.shared_rpm()
        part = weights[member] / sum(weights.values())
        allowed += min(rpm, shared_rpm * part) if shared_rpm is not None else rpm
    return int(allowed * 60)


def soonest_end_s(left: Iterable[tuple[Passage, int, float]], now_ms: int) -> float:
    """Seconds that the slowest of the quotas takes for what is left, items and their tokens: lanes that share one
    share its limits."""
    requests: Counter[str] = Counter()
    tokens: defaultdict[str, float] = defaultdict(float)
    known: dict[str, tuple[QuotaLimits, int]] = {}
    for passage, items, of_these in left:
        for view, limits in zip(passage.views(), passage.limits(), strict=True):
            requests[view.name] += items
            tokens[view.name] += of_these
            known[view.name] = limits, view.used_today
    to_midnight_s = until_pacific_midnight_ms(now_ms) / 1000
    return max(
        (soonest_s(n, *known[name], to_midnight_s, tokens[name]) for name, n in requests.items()), default=0.0
    )


def with_eta(walk: Walk, record: JobRecord) -> JobRecord:
    """The record with its expected end by the quotas, where no worker has looked at the job yet."""
    left = record.pending + record.processing
    if record.eta is not None or not left or record.state not in (JobState.PENDING, JobState.PROCESSING):
        return record
    spec = walk.spec(record.id)
    passages = [_passage(walk, spec, lane) for lane in spec.lanes]
    allowed = allowed_per_hour(walk, spec, list(zip(spec.lanes, passages, strict=True)))
    seen = walk.jobs.progress(record.id, len(spec.lanes))
    lanes = [
        (passage, n, n * _tokens_an_item(walk, spec, lane, passage))
        for lane, passage, n in zip(spec.lanes, passages, seen.left, strict=True)
    ]
    soonest = soonest_end_s(lanes, seen.now_ms)
    wait_s = max(0.0, (record.not_before or record.now) - record.now)
    return replace(record, eta=eta_s(left, 0, allowed, wait_s, soonest))


def _tokens_an_item(walk: Walk, spec: JobSpec, lane: Lane, passage: Passage) -> float:
    """By the lane's first items, files aside; 0.0 where no quota counts tokens."""
    if not passage.counts_tokens():
        return 0.0
    first = next((row[0] for row in walk.inputs.table(spec.id) if row[3] == lane.number), None)
    if first is None:
        return 0.0
    calls = [
        Call(item.id, item.input, lane.model, spec.options, spec.schema_for(lane))
        for item in walk.inputs.shard(spec.id, first).items[:LOOKED_AT]
    ]
    return passage.estimate(calls).usual / len(calls)


def binding(walk: Walk, job_id: str) -> tuple[str, int] | None:
    """The name of the job's tightest quota and its requests a minute; None: none limits them."""
    spec = walk.spec(job_id)
    known = [
        (rpm, quota)
        for passage in (_passage(walk, spec, lane) for lane in spec.lanes)
        for quota, limits in zip(passage.quotas, passage.limits(), strict=True)
        if (rpm := limits.requests_per_minute) is not None
    ]
    if not known:
        return None
    rpm, quota = min(known)
    kind, _, name = quota.partition(":")
    return ("the job's own" if kind == "job" else name.rpartition(":")[2]), rpm


def _passage(walk: Walk, spec: JobSpec, lane: Lane) -> Passage:
    queue = walk.queue(lane.operation)
    return walk.gates.of(spec, lane, walk.project_of(queue))


def _why(passage: Passage, cause: str, until_ms: int) -> str:
    quota = (passage.model or passage.quotas[-1]).rpartition(":")[2]
    end = "until somebody resumes it (batchq quotas resume)"
    if until_ms:
        end = f"until {datetime.fromtimestamp(until_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    said = BINDINGS["day" if cause == "requests_per_day" else cause]
    return f"quota {quota}: {said}, {end}"
