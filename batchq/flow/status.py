"""A job's record with what is read from elsewhere: what it waits for, its expected end, its slowest items by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from batchq.core.job import JobRecord, Slow
from batchq.core.lifecycle import ENDED, JobState
from batchq.core.wording import no_worker
from batchq.flow.forecast import foresee
from batchq.flow.walk import Walk


def completed(walk: Walk, record: JobRecord) -> JobRecord:
    """The record, completed. Raises NotFound, NewerData."""
    record = foreseen(walk, record)
    begun = record.not_before is None or record.not_before <= record.now
    if (
        record.state in (JobState.PENDING, JobState.PROCESSING)
        and record.pending + record.processing
        and begun
    ):
        missing = unserved_queues(walk, record.id)
        record = replace(record, reason=no_worker(missing)) if missing else record
    return replace(record, slowest=tuple(_named(walk, record.id, record.slowest)))


def foreseen(walk: Walk, record: JobRecord) -> JobRecord:
    """The record of an open job as its quotas stand just now: the sweeper's notes are seconds old, and there are none
    before a worker has looked at the job. Raises NotFound, NewerData."""
    if record.state in ENDED:
        return record
    return walk.jobs.record(record.id, foresee(walk, walk.spec(record.id), tokens=True))


def _named(walk: Walk, job_id: str, slowest: Iterable[Slow]) -> Iterator[Slow]:
    positions = {one.index: one.duration_ms for one in slowest}
    for number, base, n, _ in walk.inputs.table(job_id) if positions else ():
        here = [position for position in positions if base <= position < base + n]
        if here:
            shard = walk.shard_patiently(walk.spec(job_id), number)
            for position in here:
                item = shard.at(position)
                yield Slow(item.id, item.ordinal, positions[position])


def unserved_queues(walk: Walk, job_id: str) -> list[str]:
    """The Celery queues that the job needs and no live worker consumes; with the project whose workers alone may."""
    settings, spec = walk.settings, walk.spec(job_id)
    alive = walk.fleet.alive(int(settings.lease_s * 1000))
    consumed = {(f"{settings.namespace}.{queue}", beat.project) for beat in alive for queue in beat.queues}
    queues = {queue for queue, _ in consumed}
    missing = [] if settings.control_queue in queues else [settings.control_queue]
    for lane in spec.lanes:
        queue, pinned = f"{settings.namespace}.{walk.queue(lane.operation)}", spec.project_of(lane)
        if any(name == queue and spec.is_for(lane, project) for name, project in consumed):
            continue
        missing.append(f"{queue} for project {pinned}" if pinned is not None and queue in queues else queue)
    return list(dict.fromkeys(missing))
