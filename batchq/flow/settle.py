"""What a call's end says to the store: the requests by which an item is settled or given up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from batchq.core import latency, retry
from batchq.core.lifecycle import SETTLED_BYTE
from batchq.core.records import Outcome
from batchq.errors import BatchqError
from batchq.flow.advance import advance
from batchq.flow.ledger import Consequences
from batchq.flow.outcome import attempt_of, cost_of
from batchq.flow.task import Asked, Task
from batchq.flow.verdict import HELD_MS, refusals
from batchq.flow.walk import Walk
from batchq.store.codec import pack_outcome
from batchq.store.job_record import JobSpec
from batchq.store.leases import ReleaseKind, ReleaseRequest, SettleRequest

log = logging.getLogger("batchq")


@dataclass(frozen=True, slots=True)
class Leaving:
    """How an item is released. `charged_ms` counts against its waits after rate limits."""

    kind: ReleaseKind
    delay_ms: int
    charged_ms: int = 0
    why: str = ""  # of the job's hold, should it come to one


def leaving(
    task: Task, walk: Walk, asked: Asked, decision: retry.Again | retry.Limited | retry.Away | retry.Unserved
) -> Leaving:
    match decision:
        case retry.Again(delay_ms):
            return Leaving(ReleaseKind.RETRY, delay_ms)
        case retry.Limited(delay_ms, _, charged_ms):
            return Leaving(ReleaseKind.LIMITED, delay_ms, charged_ms)
        case retry.Away(hold_ms):
            return Leaving(ReleaseKind.AWAY, min(HELD_MS, hold_ms))
        case retry.Unserved(why):
            assert asked.error is not None
            delay_ms = retry.backoff_ms(refusals(task, asked.error) + 1, walk.dice.random())
            return Leaving(ReleaseKind.FATAL, delay_ms, why=why)


def by_message(walk: Walk, leave: Leaving) -> bool:
    """Whether a Celery retry brings the item back; else the store does."""
    return (
        leave.kind in (ReleaseKind.RETRY, ReleaseKind.LIMITED)
        and leave.delay_ms <= walk.settings.message_retry_s * 1000
        and not walk.stopping
    )


def release_request(
    task: Task, walk: Walk, asked: Asked, leave: Leaving, *, by_message: bool
) -> ReleaseRequest:
    return ReleaseRequest(
        position=task.lease.position,
        nonce=task.lease.nonce,
        kind=leave.kind,
        delay_ms=leave.delay_ms,
        by_message=by_message,
        waited_ms=leave.charged_ms,
        attempt=attempt_of(asked) if leave.kind in (ReleaseKind.RETRY, ReleaseKind.FATAL) else None,
        usage=asked.usage,
        cost_usd=cost_of(walk, task.lane.model, asked.usage),
    )


def settle_request(task: Task, walk: Walk, asked: Asked, outcome: Outcome) -> SettleRequest:
    return SettleRequest(
        position=task.lease.position,
        nonce=task.lease.nonce,
        byte=SETTLED_BYTE[outcome.status],
        outcome=pack_outcome(outcome),
        bucket=latency.bucket_of(asked.duration_ms) if asked.called else None,
        duration_ms=asked.duration_ms,
        usage=asked.usage,
        cost_usd=cost_of(walk, task.lane.model, asked.usage),
        kind=outcome.error.status if outcome.error is not None else "",
    )


def log_settled(task: Task, walk: Walk, outcome: Outcome, bucket: int | None) -> None:
    def item_id() -> str:
        return walk.shard_patiently(task.spec, task.lease.shard).at(task.lease.position).id

    walk.item_log.settled(task.spec.id, item_id, outcome, bucket)


def follow_up(walk: Walk, spec: JobSpec, asked_of_us: Consequences) -> None:
    """What a settle asks of its caller. All of it is done again by the sweeper if this process dies now."""
    with _left_to_the_sweeper(spec):
        for shard in asked_of_us.complete:
            walk.outcomes.compact(spec.id, shard)
        if asked_of_us.done or asked_of_us.refill:
            advance(walk, spec.id)


def send_again(walk: Walk, spec: JobSpec) -> None:
    """Have what was given back go out at once, where there is room; the sweeper does it a moment later."""
    with _left_to_the_sweeper(spec):
        advance(walk, spec.id)


@contextmanager
def _left_to_the_sweeper(spec: JobSpec) -> Iterator[None]:
    try:
        yield
    except BatchqError as exc:
        log.warning("job %s: %s (the sweeper will go on with it)", spec.id, exc)
