"""A job in the store and the hands that work on it, with a clock that stands still until it is told to go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import batchq.store
from batchq.core.job import JobRecord
from batchq.core.latency import bucket_of
from batchq.core.lifecycle import ItemByte, ItemState
from batchq.core.records import Attempt, ErrorInfo, Outcome, Usage
from batchq.store import codec
from batchq.store.database import Arg, Database
from batchq.store.events import EventStore
from batchq.store.fleet import Beat, FleetStore, Weather
from batchq.store.inputs import InputStore
from batchq.store.items import ItemStore
from batchq.store.job_record import NANO, JobSpec, Lane
from batchq.store.jobs import JobStore
from batchq.store.leases import (
    Claimed,
    ClaimRequest,
    Healed,
    Lease,
    Released,
    ReleaseKind,
    ReleaseRequest,
    Settled,
    SettleRequest,
    Take,
    Verdict,
)
from batchq.store.outcomes import OutcomeStore, StoredResult
from batchq.store.submissions import SubmissionStore

LUA = Path(batchq.store.__file__).parent / "lua"
START_MS = 1_800_000_000_000
PERIOD_MS = 4_000
LEASE_MS = 15_000
LEASE_MAX_MS = 180_000
UNDELIVERED_MS = 15_000
RETRY_LATE_MS = 15_000  # heal.lua waits so long for a retry beyond its due time
MAX_CRASHES = 3
FATAL_LIMIT = 3
STALE_MS = 60_000  # a submitter silent for longer is dead
DAY_MS = 86_400_000
USAGE, NO_USAGE = Usage(10, 5, 2), Usage()

Shards = Sequence[tuple[int, Sequence[int]]]  # lane and input ordinals of each shard


@cache
def signature(script: str) -> tuple[tuple[int, int | None], tuple[int, int | None]]:
    """Of KEYS and of ARGV: how many are fixed, and where the open-ended rest begins (None: there is none)."""
    text = (LUA / f"{script}.lua").read_text("utf-8")

    def of(name: str) -> tuple[int, int | None]:
        listed = [
            (int(n), bool(rest)) for n, rest in re.findall(rf"^-- {name}\[(\d+)(\.\.)?\]", text, re.MULTILINE)
        ]
        fixed = sum(not rest for _, rest in listed)
        return fixed, next((n for n, rest in listed if rest), None)

    return of("KEYS"), of("ARGV")


class CheckedDatabase(Database):
    """Holds every call to the header of its script. `meanwhile`, once set, runs before each command that follows:
    what other clients may do between two commands of one batch, which is no transaction."""

    meanwhile: Callable[[], None] | None = None
    before_script: Callable[[str, Sequence[str], Sequence[Arg]], bool] | None = None

    def run(self, script: str, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        for given, (fixed, rest) in zip((keys, args), signature(script), strict=True):
            fits = len(given) == fixed if rest is None else len(given) >= fixed
            assert fits, f"{script}.lua lists {fixed} (rest from {rest}), was called with {len(given)}"
        if self.before_script is not None and not self.before_script(script, keys, args):
            return [b"changed"]
        return super().run(script, keys, args)

    def batch(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self.meanwhile is None:
            return super().batch(commands)
        replies: list[Any] = []
        for command in commands:
            action, self.meanwhile = self.meanwhile, None
            action()
            self.meanwhile = action
            replies.append(self.command(*command))
        return replies


def outcome(byte: ItemByte, text: str, attempts: int = 1) -> Outcome:
    if byte is ItemByte.SUCCEEDED:
        return Outcome(ItemState.SUCCEEDED, response={"output": text}, attempts=attempts)
    state = ItemState.FAILED if byte is ItemByte.FAILED else ItemState.DEAD_LETTER
    return Outcome(state, error=ErrorInfo(400, "INVALID_ARGUMENT", text), attempts=attempts)


def text_of(result: StoredResult) -> str | None:
    """What `outcome` was given, or the kind of an error of our own; None while the item is open."""
    if result.outcome is None:
        return None
    if result.outcome.response is not None:
        return str(result.outcome.response["output"])
    assert result.outcome.error is not None
    error = result.outcome.error
    return error.message if error.code else error.status


class World:
    """One job. Workers are named by their incarnation; leases are made with a fresh nonce unless one is given."""

    def __init__(self, database: Database) -> None:
        database.now_ms = START_MS
        self.database = database
        self.jobs, self.items, self.fleet = JobStore(database), ItemStore(database), FleetStore(database)
        self.inputs, self.submissions = InputStore(database), SubmissionStore(database)
        self.outcomes, self.events = OutcomeStore(database, self.inputs), EventStore(database)
        self.spec: JobSpec
        self.nonces = 0

    # -- storing --------------------------------------------------------------------------------------------

    def store(
        self,
        shards: Shards,
        job_id: str = "job",
        *,
        bad: Sequence[int] = (),
        retention_ms: int = 0,
        deadline_ms: int | None = None,
        webhook: str | None = None,
        max_cost: float | None = None,
    ) -> JobSpec:
        """Store and seal a job; the items whose ordinals are in `bad` fail at once."""
        lanes = [Lane(n, f"operation{n}", "model") for n in range(max(lane for lane, _ in shards) + 1)]
        fields: dict[str, str | int] = {"operation": "generate", "retention_ms": retention_ms}
        if deadline_ms is not None:
            fields["deadline"] = deadline_ms
        if max_cost is not None:
            fields["max_nano"] = round(max_cost * NANO)
        if webhook is not None:
            fields["webhook"] = webhook
        assert self.submissions.begin(job_id, "sub", fields, STALE_MS) == "new"
        base = 0
        for number, (lane, ordinals) in enumerate(shards):
            self.put(job_id, "sub", number, base, lane, ordinals, bad)
            base += len(ordinals)
        self.submissions.seal(job_id, "sub", base, "digest", lanes)
        self.spec = self.jobs.spec(job_id)
        return self.spec

    def put(
        self,
        job_id: str,
        sub: str,
        number: int,
        base: int,
        lane: int,
        ordinals: Sequence[int],
        bad: Sequence[int] = (),
    ) -> None:
        texts = [codec.dump([f"item-{ordinal}", {"prompt": f"question {ordinal}"}]) for ordinal in ordinals]
        failed = codec.pack_outcome(outcome(ItemByte.FAILED, "unreadable", attempts=0))
        self.submissions.put_shard(
            job_id,
            sub,
            number=number,
            base=base,
            lane=lane,
            blob=codec.pack_shard(base, lane, ordinals, texts),
            states="".join("F" if ordinal in bad else "." for ordinal in ordinals),
            settled=[
                (base + at, failed, "INVALID_ARGUMENT")
                for at, ordinal in enumerate(ordinals)
                if ordinal in bad
            ],
        )

    # -- time -----------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        assert self.database.now_ms is not None
        return self.database.now_ms

    def beat(self, *workers: str, period_ms: int = PERIOD_MS) -> None:
        for worker in workers:
            beat = Beat(worker, "host", 1, 10, ("generate",), "gevent", "1", "project")
            self.fleet.beat(beat, period_ms, LEASE_MS)

    def go_on(self, ms: int, *workers: str) -> None:
        """Time passes while these workers, and a bystander, beat as they should."""
        end = self.now_ms + ms
        while self.now_ms < end:
            self.database.now_ms = min(end, self.now_ms + PERIOD_MS)
            self.beat("bystander", *workers)

    def outage(self, ms: int) -> None:
        """Time passes while the store answers nobody."""
        self.database.now_ms = self.now_ms + ms

    # -- working --------------------------------------------------------------------------------------------

    def nonce(self) -> str:
        self.nonces += 1
        return f"n{self.nonces}"

    def take(self, most: int = 100, *, window: int = 100, lane: int = 0) -> Take:
        return self.items.take(self.spec.id, lane, most, window)

    def claim_one(
        self, position: int, ticket: int, worker: str, *, nonce: str = "", begun: bool = True, lane: int = 0
    ) -> Claimed:
        request = ClaimRequest(position, ticket, nonce or self.nonce(), begun)
        return self.items.claim(self.spec.id, lane, worker, [request])[0]

    def lease(
        self, position: int, ticket: int, worker: str = "w1", *, begun: bool = True, lane: int = 0
    ) -> Lease:
        claimed = self.claim_one(position, ticket, worker, begun=begun, lane=lane)
        assert claimed.verdict is Verdict.OK
        assert claimed.lease is not None
        return claimed.lease

    def leases(
        self, take: Take, worker: str = "w1", *, begun: bool = True, lane: int = 0
    ) -> dict[int, Lease]:
        return {at: self.lease(at, take.ticket, worker, begun=begun, lane=lane) for at in take.positions}

    def settle(
        self,
        *leases: Lease,
        worker: str = "w1",
        byte: ItemByte = ItemByte.SUCCEEDED,
        text: str = "answer",
        duration_ms: int | None = 100,
        usage: Usage = USAGE,
        cost_usd: float | None = 0.5,
        lane: int = 0,
    ) -> Settled:
        requests = [
            SettleRequest(
                one.position,
                one.nonce,
                byte,
                codec.pack_outcome(replace(outcome(byte, text), history=one.history)),
                None if duration_ms is None else bucket_of(duration_ms),
                duration_ms or 0,
                usage,
                cost_usd,
                "" if byte is ItemByte.SUCCEEDED else "INVALID_ARGUMENT",
            )
            for one in leases
        ]
        return self.items.settle(self.spec.id, lane, worker, requests)

    def release(
        self,
        lease: Lease,
        kind: ReleaseKind = ReleaseKind.UNUSED,
        *,
        worker: str = "w1",
        delay_ms: int = 0,
        by_message: bool = False,
        usage: Usage = NO_USAGE,
        cost_usd: float | None = None,
        error: str = "",
        waited_ms: int = 0,
        lane: int = 0,
    ) -> Released:
        attempt = Attempt(self.now_ms, 50, ErrorInfo(503, "UNAVAILABLE", error)) if error else None
        request = ReleaseRequest(
            lease.position,
            lease.nonce,
            kind,
            delay_ms,
            by_message,
            waited_ms,
            attempt,
            usage,
            cost_usd,
        )
        answers = self.items.release(
            self.spec.id, lane, worker, [request], fatal_limit=FATAL_LIMIT, why="bad key"
        )
        return answers[0]

    def weather(self) -> Weather:
        return self.fleet.weather(PERIOD_MS, LEASE_MS)

    def heal(
        self,
        *,
        lease_max_ms: int = LEASE_MAX_MS,
        undelivered_ms: int = UNDELIVERED_MS,
        max_crashes: int = MAX_CRASHES,
    ) -> Healed:
        """As the sweeper does it: who is alive is read off the heartbeats."""
        return self.items.heal(
            self.spec,
            alive=[beat.incarnation for beat in self.fleet.alive(LEASE_MS)],
            grace_until_ms=self.weather().grace_until_ms,
            lease_ms=LEASE_MS,
            lease_max_ms=lease_max_ms,
            undelivered_ms=undelivered_ms,
            max_crashes=max_crashes,
        )

    def redrive(self, *positions: int, first: bool = True, lane: int = 0) -> int:
        """As an operator does it: dead letters with their shard and kind, as the results show them."""
        found = {one.position: one for one in self.results()}
        items = [found[at].redrive() for at in positions]
        change = '"change": "redrive", "by": "person", "why": ""' if first else ""
        return self.items.redrive(
            self.spec.id, lane, items, first=first, change=change, lanes=len(self.spec.lanes)
        )

    def finish(self, owner: str = "finisher") -> str | None:
        generation = self.jobs.finish_begin(self.spec.id, owner)
        return None if generation is None else self.jobs.finish_commit(self.spec, owner, generation)

    def finished_with(self, byte: ItemByte, *, items: int = 1, shards: int = 1, **kept: int) -> None:
        """Store a job, settle every item in one way, and finish it."""
        self.store(
            [(0, range(at * items, (at + 1) * items)) for at in range(shards)],
            retention_ms=kept.get("retention_ms", 0),
        )
        take = self.take()
        self.settle(*self.leases(take).values(), byte=byte, text="first")
        assert self.finish() == "completed"

    # -- looking --------------------------------------------------------------------------------------------

    @property
    def record(self) -> JobRecord:
        return self.jobs.record(self.spec.id)

    @property
    def states(self) -> str:
        return str(self.database.command("GET", self.database.job_keys(self.spec.id).states).decode())

    @property
    def counts(self) -> dict[str, int]:
        """Those that are not zero, total left out; and they are what the state bytes say, lane by lane too."""
        record = self.record
        counts = {name: n for name, n in record.counts.items() if n and name != "total"}
        assert sum(counts.values()) == record.total == len(self.states)
        letters = {
            "succeeded": "S",
            "failed": "F",
            "dead_letter": "D",
            "cancelled": "X",
            "pending": ".rb",
            "processing": "dlw",
        }
        counted = {name: sum(map(self.states.count, text)) for name, text in letters.items()}
        assert {name: n for name, n in counted.items() if n} == counts
        for lane in range(len(self.spec.lanes)):
            own = "".join(
                self.states[base : base + n]
                for _, base, n, of in self.inputs.table(self.spec.id)
                if of == lane
            )
            key = self.database.job_keys(self.spec.id).lane(lane)
            for name in ("pending", "processing"):
                stored = int(self.database.command("HGET", key, name) or 0)
                assert stored == sum(map(own.count, letters[name])), f"{name} of lane {lane}"
        return counts

    def field(self, name: str) -> str | None:
        value = self.database.command("HGET", self.database.job_keys(self.spec.id).job, name)
        return None if value is None else str(value.decode())

    def results(self) -> list[StoredResult]:
        return list(self.outcomes.results(self.spec.id, lanes=len(self.spec.lanes)))

    def texts(self) -> list[str | None]:
        return [text_of(result) for result in self.results()]

    def everything(self) -> dict[bytes, bytes]:
        """The whole server, byte for byte."""
        names = sorted(self.database.command("KEYS", "*"))
        return {name: self.database.command("DUMP", name) for name in names}
