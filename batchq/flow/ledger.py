"""Claims and settles of one process, gathered: those of one lane that meet within a moment are one call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from batchq.core.gather import Gather
from batchq.flow.calls import Calls
from batchq.flow.patience import patiently
from batchq.store.items import ItemStore
from batchq.store.leases import Claimed, ClaimRequest, Lease, Released, ReleaseRequest, Settled, SettleRequest

LANES = 500  # of which a process keeps the gathering points


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a settled group asks of one of its callers. `answer` is this item's own: ok, settled or stale."""

    answer: str
    done: bool = False
    refill: bool = False
    complete: tuple[int, ...] = ()


class LaneLedger:
    """The gathering points of one lane."""

    def __init__(
        self,
        store: ItemStore,
        owner: str,
        job_id: str,
        lane: int,
        stopping: threading.Event,
        calls: Calls,
    ) -> None:
        self._store, self._owner, self._job_id, self._lane = store, owner, job_id, lane
        self._stopping, self._calls = stopping, calls
        self.claim: Gather[ClaimRequest, Claimed] = Gather(self.claim_pack)
        self.mark_begun: Gather[Lease, str] = Gather(self.begin_pack)
        self.settle: Gather[SettleRequest, Consequences] = Gather(self.settle_pack)

    def release(
        self, requests: Sequence[ReleaseRequest], *, fatal_limit: int, why: str = ""
    ) -> Sequence[Released]:
        """Not gathered: it is rare, and what it says to the job's hold is its own."""

        def call() -> Sequence[Released]:
            return self._store.release(
                self._job_id, self._lane, self._owner, requests, fatal_limit=fatal_limit, why=why
            )

        return patiently(call, self._at_the_last)

    # A pack is a group already.

    def claim_pack(self, requests: Sequence[ClaimRequest]) -> Sequence[Claimed]:
        return patiently(
            lambda: self._store.claim(self._job_id, self._lane, self._owner, requests), self._stopping.is_set
        )

    def begin_pack(self, leases: Sequence[Lease]) -> Sequence[str]:
        return patiently(
            lambda: self._store.mark_begun(self._job_id, self._owner, leases), self._stopping.is_set
        )

    def settle_pack(self, requests: Sequence[SettleRequest]) -> Sequence[Consequences]:
        """What a group asks of one of its callers, it asks of the first."""
        settled: Settled = patiently(
            lambda: self._store.settle(self._job_id, self._lane, self._owner, requests), self._at_the_last
        )
        first, *others = settled.answers
        lead = Consequences(first, settled.done, settled.refill, settled.complete)
        return [lead, *(Consequences(answer) for answer in others)]

    def _at_the_last(self) -> bool:
        """A paid answer is worth waiting for, as long as the process may wait for its calls."""
        return self._calls.over


class Ledger:
    """The lanes' gathering points of one process, bounded."""

    def __init__(self, store: ItemStore, owner: str, stopping: threading.Event, calls: Calls) -> None:
        self._store, self._owner, self._stopping, self._calls = store, owner, stopping, calls
        self._lanes: OrderedDict[tuple[str, int], LaneLedger] = OrderedDict()
        self._lock = threading.Lock()

    def lane(self, job_id: str, lane: int) -> LaneLedger:
        key = (job_id, lane)
        with self._lock:
            found = self._lanes.get(key)
            if found is None:
                found = self._lanes[key] = LaneLedger(
                    self._store, self._owner, job_id, lane, self._stopping, self._calls
                )
                if len(self._lanes) > LANES:
                    self._lanes.popitem(last=False)
            else:
                self._lanes.move_to_end(key)
            return found
