"""What becomes of an item after a call that failed: the rules of core/retry.py, and what its quota makes of it.

The fleet hears of a refusal or an outage here, before anything is done with the item.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from batchq.core import retry
from batchq.core.lifecycle import ItemState
from batchq.core.slowdown import outage_row
from batchq.errors import Fatal, ProviderError, Throttled, Unavailable
from batchq.flow.advance import pack_of, windows
from batchq.flow.ask import another_may_read
from batchq.flow.gates import Passage
from batchq.flow.patience import patiently
from batchq.flow.task import Task
from batchq.flow.walk import Walk

HELD_MS = 1_500  # an item of a held quota comes back after this at most; it goes out again when the hold ends
OWN_REFUSALS = 4  # of a kind that is fatal for a job, before they count as the item's own


def decide(task: Task, walk: Walk, error: ProviderError) -> retry.Decision | None:
    """None: this process cannot read the item's file, and another may."""
    if error.kind == "FILE_OUTSIDE_ROOTS" and another_may_read(task, walk):
        return None
    return decide_together([task], walk, error)[0]


def decide_together(tasks: Sequence[Task], walk: Walk, error: ProviderError) -> list[retry.Decision]:
    """What becomes of each item of one call. The fleet hears of the call once; who waits does so equally long."""
    passage = tasks[0].passage
    now_ms, dice = int(time.time() * 1000), walk.dice.random()
    decisions = [
        retry.decide(
            error,
            attempts=task.lease.attempts,
            limited=task.lease.limited,
            limited_ms=task.lease.waited_ms,
            policy=walk.policy(task.lane.operation),
            now_ms=now_ms,
            dice=dice,
        )
        for task in tasks
    ]
    if isinstance(error, Throttled):
        refused_before = max(task.lease.limited for task in tasks)
        # the fleet hears of it whether or not the items wait any longer
        delay_ms = _limited(passage, walk, retry.refusal(error, refused_before, now_ms, dice)).delay_ms
        return [
            replace(one, delay_ms=delay_ms) if isinstance(one, retry.Limited) else one for one in decisions
        ]
    if isinstance(error, Unavailable) and error.is_outage:
        decisions = _unanswered(tasks[0], walk, decisions)
    if isinstance(error, Fatal):
        return [
            retry.GiveUp(ItemState.FAILED, error.kind, error.message)
            if _is_its_own(task, walk, error)
            else one
            for task, one in zip(tasks, decisions, strict=True)
        ]
    longest_ms = max((one.delay_ms for one in decisions if isinstance(one, retry.Again)), default=0)
    return [retry.Again(longest_ms) if isinstance(one, retry.Again) else one for one in decisions]


def _limited(passage: Passage, walk: Walk, limited: retry.Limited) -> retry.Limited:
    """The item waits as long as its quota is held."""
    model = passage.model
    if model is None:
        return limited
    # capacity has no time of its own: the quota's breaker knows
    for_ms = 0 if limited.kind == "capacity" else limited.hold_ms
    held_ms = patiently(
        lambda: walk.quotas.refuse(model, limited.kind, for_ms, limited.learnt), lambda: False
    )
    walk.gates.holds.learn(model, held_ms, limited.kind)
    if limited.kind == "day" or held_ms > walk.settings.message_retry_s * 1000:
        # it waits in the store, where it goes out when the hold ends, or when somebody lifts it before
        return replace(limited, delay_ms=HELD_MS)
    return replace(limited, delay_ms=held_ms + limited.delay_ms - limited.hold_ms)


def _unanswered(task: Task, walk: Walk, decisions: list[retry.Decision]) -> list[retry.Decision]:
    """Where failures outweigh the answers the quota's breaker is open, and nobody is charged for a long time."""
    passage = task.passage
    model = passage.model
    if model is None:
        return decisions
    answered = passage.take_answered()
    row = patiently(lambda: _outage_row(task, walk), lambda: False)
    held_ms, charged = patiently(lambda: walk.quotas.fail(model, answered, row), lambda: False)
    walk.gates.holds.learn(model, held_ms, "outage")
    if not charged:
        return [retry.Away(held_ms)] * len(decisions)
    return [
        retry.Again(max(one.delay_ms, held_ms)) if isinstance(one, retry.Again) else one for one in decisions
    ]


def _outage_row(task: Task, walk: Walk) -> int:
    """How many calls without an answer are an outage: few, where few are made at once."""
    lane, passage = task.lane, task.passage
    pack = pack_of(walk, lane, passage)
    _, in_flight = windows(walk, task.spec, lane, passage, pack)
    return outage_row(in_flight // pack, walk.policy(lane.operation).max_attempts)


def refusals(task: Task, error: ProviderError) -> int:
    """How often this item met the same refusal before."""
    return sum(one.error.code == error.code and one.error.status == error.kind for one in task.lease.history)


def _is_its_own(task: Task, walk: Walk, error: ProviderError) -> bool:
    """Whether what looks fatal for the job is this item's alone: met again and again, while others succeed."""
    if refusals(task, error) < OWN_REFUSALS:
        return False
    return patiently(lambda: walk.jobs.record(task.spec.id).succeeded, walk.stop.is_set) > 0
