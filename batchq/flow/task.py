"""One claimed item, as it goes through the steps of the walk."""

from __future__ import annotations

from dataclasses import dataclass

from batchq.core.records import Answer, Usage
from batchq.core.tokens import Estimate
from batchq.errors import ProviderError
from batchq.flow.gates import Passage
from batchq.flow.ledger import LaneLedger
from batchq.flow.permit import Permit
from batchq.store.job_record import JobSpec, Lane
from batchq.store.leases import Lease

UNLIMITED = Permit(0)


@dataclass(frozen=True, slots=True)
class ItemMessage:
    """What a header task carries: references only."""

    job_id: str
    lane: int
    position: int
    ticket: int


@dataclass(frozen=True, slots=True)
class PackMessage:
    """What a header task of a pack carries: one ticket for all."""

    job_id: str
    lane: int
    positions: tuple[int, ...]
    ticket: int


@dataclass(frozen=True, slots=True)
class Task:
    """One claimed item and all that its steps need."""

    spec: JobSpec
    lane: Lane
    lease: Lease
    ledger: LaneLedger
    passage: Passage
    permit: Permit = UNLIMITED
    estimate: Estimate | None = None  # of its input tokens; None: no quota counts them
    failed: ProviderError | None = None  # what came of its upload: there is no call to make


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that was made: its answer or its error, and how long it took. `called` False: it was not, for nothing
    could be sent."""

    answer: Answer | None
    error: ProviderError | None
    began_ms: int
    duration_ms: int
    usage: Usage
    called: bool = True
