"""What a job waits for and when it will end: foreseen for who asks, and noted by the sweeper's rounds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from batchq.core import window
from batchq.core.forecast import Work, look, shared_end_s, soonest_s
from batchq.core.limits import QuotaLimits
from batchq.core.pacific import until_pacific_midnight_ms
from batchq.core.permits import BINDINGS
from batchq.flow.advance import UNTIL_LIFTED, Hold, hold_of
from batchq.flow.gates import Passage, spoken
from batchq.flow.walk import Walk
from batchq.operations.base import Call
from batchq.store.job_record import Forecast, JobSpec, Lane, Progress

SHOWN_MS = 5_000  # a shorter hold is no pause
LOOKED_AT = 50  # items of a lane, for what one has in tokens


@dataclass(frozen=True, slots=True)
class Ahead:
    """What lies before the items of a lane that are not settled."""

    lane: Lane
    left: int
    passage: Passage
    hold: Hold
    room_ms: int  # until its quotas' windows have room, where that is long
    full: str  # the quota that is longest without

    @property
    def wait_ms(self) -> int:
        return max(self.hold.ms, self.room_ms)


def note_forecast(walk: Walk, spec: JobSpec) -> None:
    """Note what is foreseen of an open job for those who only read. Raises StoreUnavailable."""
    walk.jobs.note_forecast(spec.id, foresee(walk, spec))


def foresee(walk: Walk, spec: JobSpec, *, tokens: bool = False) -> Forecast:
    """How an open job stands just now. `tokens`: look into its first items for them, while its pace is not known.

    Raises StoreUnavailable.
    """
    seen = walk.jobs.progress(spec.id, len(spec.lanes))
    ways = [_ahead(walk, spec, lane, seen.left[lane.number]) for lane in spec.lanes if seen.left[lane.number]]
    foreseen = _held(ways, seen.now_ms)
    waits = any(way.wait_ms for way in ways)
    paused = seen.held or foreseen.held_until_ms is not None
    pace = look(seen.pace, seen.settled, seen.now_ms, waits=waits, paused=paused)
    seen = replace(seen, pace=pace)
    begins_ms = max(0, spec.not_before_ms - seen.now_ms)
    served = begins_ms > 0 or all(_served(walk, spec, way.lane) for way in ways)
    ends_s = _ends_s(walk, spec, ways, seen, tokens=tokens and not pace.per_hour) if served else None
    ends_ms = None if ends_s is None else seen.now_ms + begins_ms + int(ends_s * 1000)
    if ends_ms is None and not foreseen.why:
        foreseen = _found_out(ways)
    return replace(foreseen, pace=pace, ends_ms=ends_ms)


def _ahead(walk: Walk, spec: JobSpec, lane: Lane, left: int) -> Ahead:
    passage = _passage(walk, spec, lane)
    room_ms, full = passage.full()
    return Ahead(lane, left, passage, hold_of(passage), room_ms, full)


# -- what it waits for --------------------------------------------------------------------------------------


def _held(ways: Sequence[Ahead], now_ms: int) -> Forecast:
    """What of a job is held, or waits for room: all of it, or the lane that waits longest."""
    held = [way.hold for way in ways if way.hold.ms > SHOWN_MS]
    if held:
        everything = len(held) == len(ways)
        hold = (min if everything else max)(held, key=lambda one: one.ms)
        until_ms = 0 if hold.ms >= UNTIL_LIFTED else now_ms + hold.ms
        return Forecast(None, until_ms if everything else None, _why(hold, until_ms), quota=hold.quota)
    full = max(ways, key=lambda way: way.room_ms, default=None)
    if full is None or not full.room_ms:
        return Forecast(None)
    why = f"waits for room in the window of {spoken(full.full)}"
    return Forecast(None, why=why, until_ms=now_ms + full.room_ms, quota=full.full)


def _found_out(ways: Sequence[Ahead]) -> Forecast:
    quota = next((way.passage.quotas[-1] for way in ways if way.passage.is_found_out()), "")
    return Forecast(
        None, why=f"the quota of {spoken(quota)} is being found out" if quota else "", quota=quota
    )


def _why(hold: Hold, until_ms: int) -> str:
    end = (
        f"until somebody resumes it (batchq quotas resume {hold.quota})"  # in full: a model has one a project
    )
    if until_ms:
        end = f"until {datetime.fromtimestamp(until_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    said = BINDINGS["day" if hold.why == "requests_per_day" else hold.why]
    return f"quota {spoken(hold.quota)}: {said}, {end}"


# -- when it will end ---------------------------------------------------------------------------------------


def _ends_s(
    walk: Walk, spec: JobSpec, ways: Sequence[Ahead], seen: Progress, *, tokens: bool
) -> float | None:
    """Seconds until the last item settles; None: nothing tells, or it needs somebody first."""
    if any(way.hold.ms >= UNTIL_LIFTED for way in ways):
        return None
    at_best = _soonest_s(walk, spec, ways, seen.now_ms, tokens=tokens)
    ends = [_lane_end_s(walk, spec, way, seen) for way in ways]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        return at_best or None
    return max([at_best, *known])


def _lane_end_s(walk: Walk, spec: JobSpec, way: Ahead, seen: Progress) -> float | None:
    limits = way.passage.shared_rpm(), way.passage.rpm()
    part = way.left / sum(seen.left)
    per_hour = (seen.pace.per_hour if seen.pace else 0) * part
    if not per_hour and limits[0] is None:
        per_hour = seen.overall_per_hour * part
    shared = way.passage.shared or walk.queue(way.lane.operation)
    member = f"{spec.id}:{way.lane.number}"
    others = walk.work_of(shared)
    known = others.get(member)
    mine = Work(known.weight if known else window.weight_of(spec.priority), way.left, 0, per_hour)
    end_s = shared_end_s(mine, [one for name, one in others.items() if name != member], (limits[0] or 0) * 60)
    own_s = way.left * 60 / limits[1] if limits[1] else 0.0
    if end_s is None and not own_s:
        return None
    return way.wait_ms / 1000 + max(end_s or 0.0, own_s)


def _soonest_s(walk: Walk, spec: JobSpec, ways: Sequence[Ahead], now_ms: int, *, tokens: bool) -> float:
    """Seconds that the slowest of the quotas takes for what is left, items and their tokens: lanes that share one
    share its limits."""
    requests: Counter[str] = Counter()
    of_tokens: defaultdict[str, float] = defaultdict(float)
    known: dict[str, tuple[QuotaLimits, int]] = {}
    for way in ways:
        of_these = way.left * _tokens_an_item(walk, spec, way.lane, way.passage) if tokens else 0.0
        for view, limits in zip(way.passage.views(), way.passage.limits(), strict=True):
            requests[view.name] += way.left
            of_tokens[view.name] += of_these
            known[view.name] = limits, view.used_today
    to_midnight_s = until_pacific_midnight_ms(now_ms) / 1000
    return max(
        (soonest_s(n, *known[name], to_midnight_s, of_tokens[name]) for name, n in requests.items()),
        default=0.0,
    )


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


# -- its quotas and its workers -----------------------------------------------------------------------------


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
    return ("the job's own" if quota.startswith("job:") else spoken(quota)), rpm


def _passage(walk: Walk, spec: JobSpec, lane: Lane) -> Passage:
    return walk.gates.of(spec, lane, walk.project_of(spec, lane))


def _served(walk: Walk, spec: JobSpec, lane: Lane) -> bool:
    return walk.slots_of(spec, lane) > 0
