"""What the steps of the walk work with. Built in one place (wiring.py), handed to every step."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from batchq.core.forecast import Work
from batchq.core.pricing import Prices
from batchq.core.retry import RetryPolicy
from batchq.errors import ConfigurationError, NewerData, NotFound, StoreUnavailable
from batchq.flow.caches import Lru, Timed
from batchq.flow.calls import Calls
from batchq.flow.gates import Gates
from batchq.flow.item_log import ItemLog
from batchq.flow.ledger import Ledger
from batchq.flow.patience import patiently
from batchq.operations.base import Operation, PackedOperation
from batchq.providers.base import Provider
from batchq.settings import Settings
from batchq.store.codec import Shard
from batchq.store.collectors import CollectorStore
from batchq.store.events import EventStore
from batchq.store.fleet import Beat, FleetStore
from batchq.store.inputs import InputStore, ShardRow
from batchq.store.items import ItemStore
from batchq.store.job_record import JobSpec, Lane
from batchq.store.jobs import JobStore
from batchq.store.outbox import Outbox
from batchq.store.outcomes import OutcomeStore
from batchq.store.publications import PublicationStore
from batchq.store.quotas import QuotaStore
from batchq.store.submissions import SubmissionStore
from batchq.store.upkeep import Upkeep
from batchq.store.uploads import UploadStore

log = logging.getLogger("batchq")


class Dispatcher(Protocol):
    """Sends messages. Any of them may be lost, late or doubled without harm."""

    def send_wave(
        self, job_id: str, lane: int, queue: str, positions: Sequence[int], ticket: int, pack: int = 1
    ) -> None:
        """One Celery chord: a header task for each `pack` positions, complete_wave as its body."""

    def send_dispatch(self, job_id: str) -> None:
        """Have a worker advance the job."""

    def close(self) -> None:
        """Close the connections to the broker; a later message opens new ones."""

    def send_letters(self, job_id: str, indexes: Sequence[int]) -> None:
        """Put dead letters into their queue. Raises StoreUnavailable: some may be there."""


UNBOUNDED = 1 << 30
VIEW_S = 1.0  # age of what a process knows of the fleet
TABLE_ROWS = 200_000  # of tables of shards that a process keeps, about 100 bytes each
PACKS = (
    8  # of a model, under way at once in a process: a hundred vectors are some 10 MB until they are stored
)
SPECS = 200  # jobs whose description a process keeps
PUBLISHING = 2  # jobs whose results this process writes to their destinations at once
SENDINGS = 8  # of events to webhooks, at once
SHARD_BYTES = 16 * 1024 * 1024  # of unpacked items a process keeps, about: several windows of 1 kB items


def shard_weight(shard: Shard) -> int:
    return 3 * shard.size + 400 * len(shard.items)  # as Python objects, about


@dataclass
class Walk:
    """Everything a step needs. `incarnation` is one life of this process: host, pid, start nonce."""

    settings: Settings
    jobs: JobStore
    submissions: SubmissionStore
    items: ItemStore
    inputs: InputStore
    outcomes: OutcomeStore
    fleet: FleetStore
    quotas: QuotaStore
    outbox: Outbox
    events: EventStore
    publications: PublicationStore
    collectors: CollectorStore
    upkeep: Upkeep
    uploads: UploadStore
    dispatcher: Dispatcher
    operation: Callable[[str], Operation]  # by name; raises ConfigurationError
    provider: Callable[[], Provider]  # this process's; raises ConfigurationError where it has none
    prices: Prices
    incarnation: str
    project: str = ""
    slots: int = 1  # items this process runs at once
    dice: random.Random = field(default_factory=random.Random)
    warm: Callable[[], None] = lambda: None  # has the provider ready before a permit is drawn for it
    stop: threading.Event = field(default_factory=threading.Event)
    calls: Calls = field(default_factory=Calls)
    suspect: threading.Lock = field(default_factory=threading.Lock)
    sendings: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(SENDINGS))
    publishing: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(PUBLISHING))
    specs: Lru[str, JobSpec] = field(default_factory=lambda: Lru(SPECS))
    shards: Lru[tuple[str, str, int], Shard] = field(default_factory=lambda: Lru(SHARD_BYTES, shard_weight))
    tables: Lru[tuple[str, str], tuple[ShardRow, ...]] = field(default_factory=lambda: Lru(TABLE_ROWS, len))
    item_log: ItemLog = field(init=False)
    ledger: Ledger = field(init=False)
    gates: Gates = field(init=False)
    _fleet_view: Timed[tuple[Beat, ...]] = field(init=False)
    _weights: dict[str, Timed[dict[str, float]]] = field(init=False, default_factory=dict)
    _work: dict[str, Timed[dict[str, Work]]] = field(init=False, default_factory=dict)
    _pack_places: dict[str | None, threading.Semaphore] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.item_log = ItemLog(self.settings.log_items)
        self.ledger = Ledger(self.items, self.incarnation, self.stop, self.calls)
        self.gates = Gates(
            self.settings,
            self.quotas,
            self.incarnation,
            project=self.project,
            slots=self.slots,
            queue=self.queue,
            workers=self.processes,
            stopping=self.stop.is_set,
        )
        lease_ms = int(self.settings.lease_s * 1000)
        self._fleet_view = Timed(VIEW_S, lambda: tuple(self.fleet.alive(lease_ms)))

    @property
    def stopping(self) -> bool:
        return self.stop.is_set()

    def spec(self, job_id: str) -> JobSpec:
        """What does not change of a job once it is sealed, its project aside. Raises NotFound, NewerData."""
        spec = self.specs.get(job_id, lambda: self.jobs.spec(job_id))
        if self.jobs.is_as(spec):
            return spec
        self.specs.drop(job_id)  # pinned anew; deleted, or lost, and perhaps submitted anew under its id
        return self.specs.get(job_id, lambda: self.jobs.spec(job_id))

    def spec_patiently(self, job_id: str) -> JobSpec:
        """The same; perhaps of an earlier job of this id, which a claim will say."""
        return self.specs.get(job_id, lambda: patiently(lambda: self.jobs.spec(job_id), self.stop.is_set))

    def lane_of_message(self, job_id: str, number: int) -> tuple[JobSpec, Lane] | None:
        """The job and lane that a message names; None: the message is stale, or from a newer batchq."""
        try:
            spec = self.spec_patiently(job_id)
        except (NotFound, NewerData) as exc:
            log.info("message dropped: %s", exc)
            return None
        return (spec, spec.lanes[number]) if number < len(spec.lanes) else None

    def shard_patiently(self, spec: JobSpec, number: int) -> Shard:
        def read() -> Shard:
            return patiently(lambda: self.inputs.shard(spec.id, number), self.stop.is_set)

        return self.shards.get((spec.id, spec.birth, number), read)

    def policy(self, operation: str) -> RetryPolicy:
        limits = self.settings.operation(operation)
        return RetryPolicy(
            limits.max_attempts,
            int(limits.max_rate_limit_wait_s * 1000),
            int(limits.backoff_s * 1000),
            int(limits.backoff_max_s * 1000),
        )

    def packed(self, operation: str) -> PackedOperation | None:
        """The operation, where its items go in packs; None: they do not, or this process does not know it."""
        try:
            found = self.operation(operation)
        except ConfigurationError:
            return None
        return found if isinstance(found, PackedOperation) else None

    def queue(self, operation: str) -> str:
        """The queue of an operation, without the namespace. Of one that this process does not know, live workers say
        which it is: its place may be named where it is defined."""
        told = self.settings.operation(operation).queue
        if told is None and not self._knows(operation):
            told = next(
                (beat.operations[operation] for beat in self._fleet() if operation in beat.operations), None
            )
        return told or operation

    def another_knows(self, operation: str) -> bool:
        """Whether this process has not the code of an operation, and live workers of its queue have it."""
        if self._knows(operation):
            return False
        queue = self.queue(operation)
        return any(operation in beat.operations and queue in beat.queues for beat in self._fleet())

    def _knows(self, operation: str) -> bool:
        try:
            self.operation(operation)
        except ConfigurationError:
            return False
        return True

    def pack_places(self, model: str | None) -> threading.Semaphore:
        """Places for packs of a model in this process: one that waits for its quota keeps no other's from theirs."""
        return self._pack_places.setdefault(model, threading.Semaphore(PACKS))

    def slots_of(self, spec: JobSpec, lane: Lane, most: int = UNBOUNDED) -> int:
        """Calls of a lane that the live workers make at once, `most` each; 0: none of them may run its items."""
        return sum(min(beat.slots, most) for beat in self._serving(spec, lane))

    def _serving(self, spec: JobSpec, lane: Lane) -> Iterator[Beat]:
        """The live workers that may run a lane's items."""
        queue = self.queue(lane.operation)
        return (
            beat
            for beat in self._fleet_view.get()
            if queue in beat.queues and spec.is_for(lane, beat.project)
        )

    def is_alive(self, incarnation: str) -> bool:
        return incarnation == self.incarnation or any(
            beat.incarnation == incarnation for beat in self._fleet_view.get()
        )

    def processes(self) -> int:
        """Live processes that run items: those that a quota is divided among."""
        return sum(beat.slots > 0 for beat in self._fleet())

    def _fleet(self) -> tuple[Beat, ...]:
        """While Redis is away, as last seen."""
        try:
            return self._fleet_view.get()
        except StoreUnavailable:
            return self._fleet_view.last or ()

    def project_of(self, spec: JobSpec, lane: Lane) -> str:
        """Whose quota the calls of a lane count against: the one it is pinned to, else this process's, else that of
        who serves it."""
        pinned = spec.project_of(lane)
        if pinned is not None:
            return pinned
        if self.project and spec.is_for(lane, self.project):
            return self.project
        return next((beat.project for beat in self._serving(spec, lane)), "")

    def work_of(self, shared: str) -> dict[str, Work]:
        """What the lanes with work for a quota (or queue) have to do."""
        return self._work.setdefault(shared, Timed(VIEW_S, lambda: self.fleet.work(shared))).get()

    def weights_of(self, shared: str) -> dict[str, float]:
        """The lanes with work for a quota (or queue), by weight."""
        view = self._weights.get(shared)
        if view is None:
            view = self._weights[shared] = Timed(VIEW_S, lambda: self.fleet.weights(shared))
        return view.get()
