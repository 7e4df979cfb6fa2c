"""A worker's log lines about single items: each one when asked for, the slow ones always.

They say which item, how long and how often, never what was asked or answered. Ids come from anybody, so they are
written as JSON: a line break or a terminal's escape in one cannot pose as something else.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from batchq.core import latency
from batchq.core.records import Outcome

LOGGER = "batchq.items"
log = logging.getLogger(LOGGER)

SLOW = 3.0  # times the 95th percentile of the job's calls in this process
QUICK_MS = (
    1_000  # a call below it is never slow: of calls of milliseconds a busy processor makes some of hundreds
)
ENOUGH = 20  # calls of a job before one of them can be told slow
REFRESH = 50  # calls between two looks at the percentile
JOBS = 200  # of which a process keeps the latencies


@dataclass
class _Latencies:
    buckets: Counter[int] = field(default_factory=Counter)
    calls: int = 0
    slow_ms: float | None = None  # slower ones are told; None: too few calls to say

    def add(self, bucket: int, duration_ms: int) -> bool:
        """Count a call; whether it was slow beside those before it."""
        slow = self.slow_ms is not None and duration_ms > max(self.slow_ms, QUICK_MS)
        self.buckets[bucket] += 1
        self.calls += 1
        if self.calls == ENOUGH or self.calls % REFRESH == 0:
            self.slow_ms = SLOW * latency.percentile(self.buckets, 0.95, 2**53)
        return slow


class ItemLog:
    """Of one process. `every` is the setting `log_items`."""

    def __init__(self, every: bool) -> None:
        self._every = every
        self._jobs: OrderedDict[str, _Latencies] = OrderedDict()

    def settled(self, job_id: str, item_id: Callable[[], str], outcome: Outcome, bucket: int | None) -> None:
        """Tell of an item, if there is reason to. `bucket` of its latency; None: there was no call."""
        slow = bucket is not None and self._latencies(job_id).add(bucket, outcome.duration_ms)
        if slow or self._every:
            log.log(
                logging.WARNING if slow else logging.INFO,
                "%sitem %s of job %s: %s in %d ms, %d attempts, waited %d ms",
                "slow: " if slow else "",
                json.dumps(item_id()),
                job_id,
                outcome.status,
                outcome.duration_ms,
                outcome.attempts,
                outcome.waited_ms,
            )

    def _latencies(self, job_id: str) -> _Latencies:
        found = self._jobs.get(job_id)
        if found is None:
            found = self._jobs[job_id] = _Latencies()
            if len(self._jobs) > JOBS:
                self._jobs.popitem(last=False)
        return found
