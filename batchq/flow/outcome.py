"""What a call came to, as the store keeps it and the results show it."""

from __future__ import annotations

from typing import TypedDict

from batchq.core import retry
from batchq.core.lifecycle import ItemState
from batchq.core.pricing import cost_usd
from batchq.core.records import NO_USAGE, Answer, Attempt, ErrorInfo, Outcome, Usage
from batchq.flow.task import Asked, Task
from batchq.flow.walk import Walk

MESSAGE_LIMIT = 2_000  # characters of an error kept with an item


def success(task: Task, walk: Walk, asked: Asked, answer: Answer) -> Outcome:
    model = answer.model or task.lane.model
    return Outcome(
        status=ItemState.SUCCEEDED,
        response=answer.response,
        attempts=task.lease.attempts,
        duration_ms=asked.duration_ms,
        waited_ms=task.lease.waited_ms + task.permit.waited_ms,
        rate_limited=task.lease.limited,
        model=model,
        **_paid(walk, task, answer.usage),
        structured=answer.data is not None and "candidates" in answer.response,
        history=task.lease.history,
    )


def failure(task: Task, walk: Walk, asked: Asked, decision: retry.GiveUp) -> Outcome:
    assert asked.error is not None
    message = decision.message[:MESSAGE_LIMIT]
    return Outcome(
        status=decision.state,
        error=ErrorInfo(asked.error.code, decision.status, message),
        attempts=task.lease.attempts,
        duration_ms=asked.duration_ms,
        waited_ms=task.lease.waited_ms + task.permit.waited_ms,
        rate_limited=task.lease.limited + (decision.status == "RATE_LIMITED"),
        model=task.lane.model,
        **_paid(walk, task, asked.usage),
        history=(*task.lease.history, attempt_of(asked)),
    )


def attempt_of(asked: Asked) -> Attempt:
    assert asked.error is not None
    error = ErrorInfo(asked.error.code, asked.error.kind, asked.error.message[:MESSAGE_LIMIT])
    return Attempt(asked.began_ms, asked.duration_ms, error, asked.usage)


class _Paid(TypedDict):
    usage: Usage
    cost_usd: float | None


def _paid(walk: Walk, task: Task, last: Usage) -> _Paid:
    """What an item came to: its last call, and those before it that were answered in vain. Each is priced apart, by
    its own length."""
    earlier = [attempt.usage for attempt in task.lease.history]
    costs = [
        cost for usage in (last, *earlier) if (cost := cost_of(walk, task.lane.model, usage)) is not None
    ]
    return {"usage": sum(earlier, last), "cost_usd": sum(costs) if costs else None}


def cost_of(walk: Walk, model: str | None, usage: Usage) -> float | None:
    if model is None or usage == NO_USAGE:
        return None
    return cost_usd(model, usage, walk.prices)
