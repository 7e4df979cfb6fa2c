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
from batchq.store.job_record import JobSpec
from batchq.store.leases import (
    Claimed,
    ClaimRequest,
    Lease,
    Released,
    ReleaseKind,
    ReleaseRequest,
    Settled,
    SettleRequest,
    Verdict,
)

LANES = 500  # of which a process keeps the gathering points
UNCHANGED = 1 << 30  # for the limit of fatal errors, where there is none among what is released


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
        spec: JobSpec,
        lane: int,
        stopping: threading.Event,
        calls: Calls,
        held: set[str],
    ) -> None:
        self._store, self._owner, self._job_id, self._lane = store, owner, spec.id, lane
        self._birth = spec.birth
        self._stopping, self._calls, self._held = stopping, calls, held
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

        released = patiently(call, self._at_the_last)
        self._held.difference_update(one.nonce for one in requests)
        return released

    # A pack is a group already.

    def claim_pack(self, requests: Sequence[ClaimRequest]) -> Sequence[Claimed]:
        # before they are claimed, so that no lease of ours is ever taken for a forgotten one
        self._held.update(one.nonce for one in requests)
        claimed = patiently(
            lambda: self._store.claim(self._job_id, self._lane, self._owner, requests, self._birth),
            self._stopping.is_set,
        )
        self._held.difference_update(
            one.nonce for one, its in zip(requests, claimed, strict=True) if its.verdict is not Verdict.OK
        )
        return claimed

    def begin_pack(self, leases: Sequence[Lease]) -> Sequence[str]:
        return patiently(
            lambda: self._store.mark_begun(self._job_id, self._owner, leases), self._stopping.is_set
        )

    def settle_pack(self, requests: Sequence[SettleRequest]) -> Sequence[Consequences]:
        """What a group asks of one of its callers, it asks of the first."""
        settled: Settled = patiently(
            lambda: self._store.settle(self._job_id, self._lane, self._owner, requests), self._at_the_last
        )
        self._held.difference_update(one.nonce for one in requests)
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
        self._lanes: OrderedDict[tuple[str, int, str], LaneLedger] = OrderedDict()
        self._held: set[str] = set()  # nonces of the leases that this process is at
        self._lock = threading.Lock()

    def lane(self, spec: JobSpec, lane: int) -> LaneLedger:
        key = (spec.id, lane, spec.birth)
        with self._lock:
            found = self._lanes.get(key)
            if found is None:
                found = self._lanes[key] = LaneLedger(
                    self._store, self._owner, spec, lane, self._stopping, self._calls, self._held
                )
                if len(self._lanes) > LANES:
                    self._lanes.popitem(last=False)
            else:
                self._lanes.move_to_end(key)
            return found

    def disown(self) -> int:
        """Give back what stands as leased to this process and is none of its work. Returns how many items.

        A server that lost its last moments has items leased again that were settled, or sent to wait for a retry.
        Their holder lives, so nobody else would take them for a long time. Raises StoreUnavailable.
        """
        given_back = 0
        with self._lock:
            jobs = {job_id for job_id, _, _ in self._lanes}
        for job_id in jobs:
            for lane, position, nonce in self._store.leases_of(job_id, self._owner):
                if nonce not in self._held:
                    lost = [ReleaseRequest(position, nonce, ReleaseKind.LOST, delay_ms=0)]
                    self._store.release(job_id, lane, self._owner, lost, fatal_limit=UNCHANGED)
                    given_back += 1
        return given_back
