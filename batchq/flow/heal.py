"""The sweeper: whatever a dead worker, a lost message or an outage left behind moves on.

Every worker runs it on a timer; one holder at a time through a lock. A lost chord counter, a flushed broker or a
crashed callback delays a job by seconds and loses nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from batchq.core.lifecycle import ENDED, JobState
from batchq.errors import BatchqError, NewerData, NotFound
from batchq.flow.advance import advance, waits_ms
from batchq.flow.collect import collect_due
from batchq.flow.finish import finish
from batchq.flow.forecast import note_forecast
from batchq.flow.letters import feed
from batchq.flow.walk import Walk
from batchq.flow.webhooks import deliver
from batchq.store.fleet import Weather
from batchq.store.job_record import JobSpec
from batchq.store.leases import Healed

log = logging.getLogger("batchq")

JOBS_A_ROUND = 200
ASLEEP_MS = 30_000  # between looks at a job that only an event can move
SUBMITTER_STALE_MS = 30_000
AT_ONCE = -1  # for heal: every message that is out counts as lost
REMEMBER_DEAD_MS = 600_000  # so that `batchq workers` can still tell of them


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of the sweeper works with."""

    weather: Weather
    alive: tuple[str, ...]


def sweep(walk: Walk) -> bool:
    """One round, if no other process is at it. False: another is."""
    ttl_ms = int(walk.settings.sweep_s * 5_000)
    if not walk.fleet.lock(walk.incarnation, ttl_ms):
        return False
    this = _look_around(walk)
    _free_slots(walk, this)
    walk.upkeep.drop_expired()
    for job_id in walk.jobs.due(JOBS_A_ROUND):
        if walk.stopping or not walk.fleet.lock(walk.incarnation, ttl_ms):
            return True
        try:
            pause_ms = _sweep_job(walk, job_id, this)
        except (NotFound, NewerData):
            pause_ms = _sweep_unknown(walk, job_id)
        except BatchqError as exc:
            log.warning("sweeper: job %s: %s", job_id, exc)
            pause_ms = int(walk.settings.sweep_s * 1000)
        if pause_ms is not None:
            walk.jobs.check_again(job_id, pause_ms)
    collect_due(walk)
    return True


def recall(walk: Walk) -> None:
    """Have what is out on queues that nobody consumes any more pending again: no worker is there to take it."""
    this = _look_around(walk)
    served = {queue for beat in walk.fleet.alive(int(walk.settings.lease_s * 1000)) for queue in beat.queues}
    for record in walk.jobs.unfinished():
        try:
            spec = walk.spec(record.id)
        except (NotFound, NewerData):
            continue  # deleted meanwhile
        queues = {walk.queue(lane.operation) for lane in spec.lanes}
        if not queues & served:
            _heal(walk, spec, this, undelivered_ms=AT_ONCE)


def _look_around(walk: Walk) -> Round:
    lease_ms = int(walk.settings.lease_s * 1000)
    weather = walk.fleet.weather(int(walk.settings.heartbeat_s * 1000), lease_ms)
    beats = walk.fleet.all()
    if weather.now_ms >= weather.grace_until_ms:
        walk.fleet.clear(
            [one.incarnation for one in beats if weather.now_ms - one.beat_ms > REMEMBER_DEAD_MS]
        )
    alive = tuple(one.incarnation for one in beats if weather.now_ms - one.beat_ms <= lease_ms)
    return Round(weather, alive)


def _free_slots(walk: Walk, this: Round) -> None:
    """Calls in flight of processes that died are none any more."""
    if this.weather.now_ms >= this.weather.grace_until_ms:
        for quota in walk.quotas.names():
            walk.quotas.clear_owners(quota, this.alive)


def _sweep_unknown(walk: Walk, job_id: str) -> int | None:
    """A job still being received, one of a newer batchq, or one that is gone."""
    if walk.submissions.stale(job_id, SUBMITTER_STALE_MS):
        log.info("job %s: its submission broke off; it is swept away", job_id)
        walk.submissions.abandon(job_id)
        return None
    if walk.jobs.exists(job_id):
        return ASLEEP_MS
    walk.jobs.forget(job_id)
    return None


def _sweep_job(walk: Walk, job_id: str, this: Round) -> int | None:
    """Returns when to look again, in ms; None: never."""
    pause_ms = int(walk.settings.sweep_s * 1000)
    spec = walk.spec(job_id)
    state = walk.jobs.state(job_id)
    if walk.jobs.has_ended(job_id):
        return _see_off(walk, spec, state, pause_ms)
    if (
        spec.deadline_ms is not None
        and this.weather.now_ms >= spec.deadline_ms
        and state is not JobState.CANCELLED
    ):
        _pass_deadline(walk, spec)
    healed = _heal(walk, spec, this, undelivered_ms=int(walk.settings.undelivered_s * 1000))
    if healed.back or healed.poisoned:
        log.warning(
            "job %s: %d items brought back, %d set aside, %d calls lost",
            job_id,
            healed.back,
            healed.poisoned,
            healed.lost_calls,
        )
    for shard in healed.shards:
        walk.outcomes.compact(job_id, shard)
    advance(walk, job_id)
    waits = waits_ms(walk, spec)
    if state not in ENDED and not waits:
        note_forecast(walk, spec)
    if state is JobState.CANCELLED and finish(walk, spec):
        return None
    feed(walk, job_id)
    deliver(walk, spec)
    return min(waits, ASLEEP_MS) or pause_ms


def _see_off(walk: Walk, spec: JobSpec, state: JobState, pause_ms: int) -> int | None:
    """A job that has ended is kept on the agenda for what others are still to hear of it."""
    # dead letters of a cancelled job can no more be redriven
    fed = state is JobState.CANCELLED or feed(walk, spec.id)
    due_ms = deliver(walk, spec)
    if not fed or due_ms is not None:
        return min(max(due_ms or 0, pause_ms), ASLEEP_MS)
    walk.jobs.forget(spec.id)
    return None


def _heal(walk: Walk, spec: JobSpec, this: Round, *, undelivered_ms: int) -> Healed:
    return walk.items.heal(
        spec,
        alive=this.alive,
        grace_until_ms=this.weather.grace_until_ms,
        lease_ms=int(walk.settings.lease_s * 1000),
        lease_max_ms=int(max(walk.settings.lease_max_s(lane.operation) for lane in spec.lanes) * 1000),
        undelivered_ms=undelivered_ms,
        max_crashes=walk.settings.max_crashes,
    )


def _pass_deadline(walk: Walk, spec: JobSpec) -> None:
    if walk.jobs.cancel(spec.id, cause="deadline", by="sweeper", why="what was still pending is cancelled"):
        log.info("job %s: its deadline passed", spec.id)
    while walk.jobs.cancel_sweep(spec.id, len(spec.lanes)):
        pass
