"""The end of a job: begun, its results published where it has a destination, committed. A redrive in between undoes it."""

from __future__ import annotations

import logging
import secrets
import threading

from batchq.core.lifecycle import JobState
from batchq.core.wording import count
from batchq.errors import BatchqError
from batchq.flow.gates import job_quota, queue_quota
from batchq.flow.letters import feed
from batchq.flow.publish import Fence, Fenced, publish
from batchq.flow.walk import Walk
from batchq.store.job_record import JobSpec

log = logging.getLogger("batchq")


def finish(walk: Walk, spec: JobSpec) -> bool:
    """End the job if nothing of it is open. True: it has ended, by this call.

    Results on their way to a destination have a thread of their own, which ends the job when they are there.
    """
    if spec.destination is None:
        return _finish(walk, spec)
    if walk.publications.of(spec.id).due_ms > walk.jobs.server_ms() or not walk.publishing.acquire(
        blocking=False
    ):
        return False
    handed = threading.Event()
    try:
        return _finish(walk, spec, handed)
    finally:
        if not handed.is_set():
            walk.publishing.release()


def _finish(walk: Walk, spec: JobSpec, handed: threading.Event | None = None) -> bool:
    owner = secrets.token_hex(6)
    generation = walk.jobs.finish_begin(spec.id, owner)
    if generation is None:
        return False
    for shard in walk.outcomes.loose_shards(spec.id):
        walk.outcomes.compact(spec.id, shard)
    failure = _broken_promise(walk, spec) if spec.all_or_nothing else ""
    fence = Fence(walk, spec, owner, generation)
    if handed is None or failure or walk.jobs.state(spec.id) is JobState.CANCELLED:
        return _commit(walk, spec, fence, failure)
    handed.set()
    threading.Thread(target=_publish, args=(walk, spec, fence), name="batchq publishing", daemon=True).start()
    return False


def _broken_promise(walk: Walk, spec: JobSpec) -> str:
    record = walk.jobs.record(spec.id)
    if record.succeeded == record.total:
        return ""
    return (
        f"all or nothing: {record.total - record.succeeded:,} of {count(record.total, 'item')} did not succeed, so "
        "nothing is published"
    )


def _publish(walk: Walk, spec: JobSpec, fence: Fence) -> None:
    try:
        failure = publish(walk, spec, fence)
        if failure is not None:
            _commit(walk, spec, fence, failure)
    except Fenced as exc:
        log.info("job %s: %s", spec.id, exc)
    except BatchqError as exc:
        log.warning("job %s: %s (the sweeper will go on with it)", spec.id, exc)
    finally:
        walk.publishing.release()


def _commit(walk: Walk, spec: JobSpec, fence: Fence, failure: str) -> bool:
    fed = feed(walk, spec.id)  # while the sweeper still looks at the job
    state = walk.jobs.finish_commit(spec, fence.owner, fence.generation, failure)
    if state is None:
        walk.jobs.wake(spec.id)
        return False
    if not fed and state is not JobState.CANCELLED:  # those of a cancelled job can no more be redriven
        walk.jobs.wake(spec.id)
    leave(walk, spec)
    log.info("job %s %s", spec.id, state)
    return True


def leave(walk: Walk, spec: JobSpec) -> None:
    """Nothing of an ended job is left in what jobs share: windows and quotas."""
    leave_queues(walk, spec)
    walk.quotas.drop(job_quota(spec.id))
    walk.gates.forget(spec.id)
    walk.specs.drop(spec.id)


def leave_queues(walk: Walk, spec: JobSpec) -> None:
    for lane in spec.lanes:
        queue = walk.queue(lane.operation)
        passage = walk.gates.of(spec, lane, walk.project_of(spec, lane))
        # a worker that does not know the operation, and so not that its queue has a limit, joined by the queue's name
        for shared in {passage.shared or queue, queue_quota(queue), queue}:
            walk.fleet.leave_queue(shared, spec.id, lane.number)
