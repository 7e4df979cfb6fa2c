"""A job's record with what is read from elsewhere: its slowest items by name, and its expected end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from batchq.core.job import JobRecord, Slow
from batchq.flow.forecast import with_eta
from batchq.flow.walk import Walk


def completed(walk: Walk, record: JobRecord) -> JobRecord:
    """The record, completed. Raises NotFound, NewerData."""
    return replace(with_eta(walk, record), slowest=tuple(_named(walk, record.id, record.slowest)))


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
    """The Celery queues that the job needs and no live worker consumes."""
    settings = walk.settings
    alive = walk.fleet.alive(int(settings.lease_s * 1000))
    consumed = {f"{settings.namespace}.{queue}" for beat in alive for queue in beat.queues}
    needed = [settings.control_queue]
    needed += [f"{settings.namespace}.{walk.queue(lane.operation)}" for lane in walk.spec(job_id).lanes]
    return [queue for queue in dict.fromkeys(needed) if queue not in consumed]
