"""A job's cost limit: what a call may cost is set aside before it is made, so that the limit is never passed.

The worker knows prices and inputs; the store knows what is spent, what is set aside for the calls under way, and how
long the job's answers are (reserve.lua).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from batchq.core.lifecycle import HoldCause
from batchq.core.pricing import price_of
from batchq.errors import BatchqError
from batchq.flow.gates import is_heard
from batchq.flow.patience import patiently
from batchq.flow.task import Task
from batchq.flow.walk import Walk
from batchq.operations.base import Call
from batchq.operations.options import output_limit
from batchq.store.leases import Bid

log = logging.getLogger("batchq")

WAIT_MS = 1_000  # until calls under way may have cost less than was set aside for them
HELD = "held"


def reserve(walk: Walk, tasks: Sequence[Task], calls: Sequence[Call]) -> list[str]:
    """ok for each call that may be made; wait, held or stale for another."""
    spec, model = tasks[0].spec, tasks[0].lane.model
    price = price_of(model, walk.prices) if model else None
    if price is None:
        _hold_unpriced(walk, spec.id, model)
        return [HELD] * len(tasks)
    bids = []
    for task, call in zip(tasks, calls, strict=True):
        tokens = task.passage.estimate([call]).upper
        input_usd, output_usd = price.prompt_usd(tokens, heard=is_heard(call)), price.answer_usd(tokens)
        # USD a million tokens is a thousand nano-dollars a token
        bid = Bid(
            math.ceil(tokens * input_usd * 1000), output_usd * 1000, output_limit(call.options, call.input)
        )
        bids.append((task.lease, bid))
    return patiently(lambda: walk.items.reserve(spec.id, walk.incarnation, bids), walk.stop.is_set)


def _hold_unpriced(walk: Walk, job_id: str, model: str | None) -> None:
    """The submitter's settings have a price that this worker's have not: what it spends could not be counted."""
    why = f'a worker knows no price for {model}: set [prices."{model}"] in its batchq.toml'
    try:
        walk.jobs.hold(job_id, HoldCause.BUDGET, why, "worker")
    except BatchqError as exc:  # it has ended, or the store is away: the next call asks again
        log.warning("job %s: %s", job_id, exc)
