"""The items of a job: taken, claimed, called, released, settled, healed, redriven, compacted, read."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from batchq.core.lifecycle import DEAD_LETTERS, SETTLED, STATE_OF_BYTE, ItemByte, ItemState
from batchq.core.records import Attempt, ErrorInfo, Outcome, Usage
from batchq.errors import Conflict, NewerData, NotFound
from batchq.store import codec
from batchq.store.database import Arg, Database
from batchq.store.job_record import JobSpec
from batchq.store.keys import SCHEMA

SHARD_ENTRY = 20  # bytes of an entry in the table of shards
TABLE_PAGE = 1_000  # entries read at once
NO_USAGE = Usage()
ShardRow = tuple[int, int, int, int]  # number of a shard, position of its first item, items, lane
NANO = 1_000_000_000  # cost is counted in whole nano-dollars


@dataclass(frozen=True, slots=True)
class Take:
    """Items taken for a wave; one ticket for all."""

    ticket: int
    positions: tuple[int, ...]


class Verdict(StrEnum):
    """What a claim was answered."""

    OK = "ok"
    BUSY = "busy"  # a doubled message: somebody else is at it
    SETTLED = "settled"
    CANCELLED = "cancelled"
    PAUSED = "paused"  # the item went back
    SUPERSEDED = "superseded"  # it went back or out again since the message was sent
    GONE = "gone"
    NEWER = "newer"


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    position: int
    ticket: int
    nonce: str  # asking again with the same one gives the same answer
    begun: bool  # the call starts at once, without waiting for a permit


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to settle an item. `attempts` counts the call that `begun` announced, if it did."""

    position: int
    nonce: str
    shard: int
    attempts: int
    crashes: int
    limited: int  # refusals for rate so far
    waited_ms: int
    history: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    verdict: Verdict
    lease: Lease | None = None


class ReleaseKind(StrEnum):
    RETRY = "retry"  # an attempt was used up
    LIMITED = "limited"  # refused for rate: no attempt
    FATAL = "fatal"  # the job cannot be served: no attempt
    UNUSED = "unused"  # no call was made, or its worker is going: no attempt


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    position: int
    nonce: str
    kind: ReleaseKind
    delay_ms: int
    by_message: bool = False  # a Celery retry brings it back; else the store does, when it is due
    waited_ms: int = 0
    attempt: Attempt | None = None  # for the history
    usage: Usage = NO_USAGE
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """`answer`: retry (with the ticket of the message to send), back, cancelled, stale."""

    answer: str
    ticket: int = 0
    job_held: bool = False


@dataclass(frozen=True, slots=True)
class SettleRequest:
    position: int
    nonce: str
    byte: ItemByte
    outcome: bytes  # codec.pack_outcome
    bucket: int | None  # of the latency; None: there was no call
    duration_ms: int
    usage: Usage  # of the last attempt; earlier ones came with their release
    cost_usd: float | None
    kind: str  # of the error; "" for success


@dataclass(frozen=True, slots=True)
class Settled:
    """`answers`: ok, settled or stale for each request, in order."""

    answers: tuple[str, ...]
    done: bool  # nothing is left of the job
    refill: bool  # the window has room, and the caller is the one to fill it
    complete: tuple[int, ...]  # shards


@dataclass(frozen=True, slots=True)
class Healed:
    back: int = 0
    poisoned: int = 0
    cancelled: int = 0
    lost_calls: int = 0
    shards: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredResult:
    """An item and, once settled, its outcome (None while it is open)."""

    position: int
    ordinal: int
    id: str
    lane: int
    shard: int
    state: ItemState
    input: dict[str, object]
    outcome: Outcome | None


CANCELLED = Outcome(ItemState.CANCELLED, error=ErrorInfo(0, "CANCELLED", "the job was cancelled first"))


def poison_outcome(crashes: int) -> str:
    """The outcome heal.lua writes; %d and %s stand for the item's attempts and history."""
    message = f"{crashes} workers died while they ran this item"
    error = json.dumps(ErrorInfo(0, "POISON", message).wire(), separators=(",", ":"))
    return '{"s":"dead_letter","e":' + error + ',"a":%d,"h":%s}'


class ItemStore:
    """Named operations on the items of jobs. Lists are one call to the server, whatever their length."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- going out and coming back --------------------------------------------------------------------------

    def take(self, job_id: str, lane: int, most: int, window: int) -> Take:
        """Take up to `most` items of a lane for a wave, within its window of items in flight."""
        keys = self._db.job_keys(job_id)
        reply = self._db.run(
            "take",
            [keys.job, keys.shards, keys.states, keys.flight, keys.lane(lane), keys.back(lane)],
            [self._db.now_arg, SCHEMA, self._db.dark_ms, lane, most, window],
        )
        return Take(int(reply[0]), tuple(int(one) for one in reply[1:])) if reply else Take(0, ())

    def claim(self, job_id: str, lane: int, owner: str, requests: Sequence[ClaimRequest]) -> list[Claimed]:
        keys = self._db.job_keys(job_id)
        args: list[Arg] = [self._db.now_arg, SCHEMA, self._db.dark_ms, owner]
        for one in requests:
            args += (one.position, one.ticket, one.nonce, int(one.begun))
        replies = self._db.run(
            "claim", [keys.job, keys.states, keys.flight, keys.lane(lane), keys.back(lane)], args
        )
        return [_claimed(one, reply) for one, reply in zip(requests, replies, strict=True)]

    def mark_begun(self, job_id: str, owner: str, leases: Sequence[Lease]) -> list[str]:
        """ok, stale, cancelled or paused for each: the call may be made only after ok."""
        keys = self._db.job_keys(job_id)
        args: list[Arg] = [owner]
        for lease in leases:
            args += (lease.position, lease.nonce)
        return [reply[0].decode() for reply in self._db.run("mark_begun", [keys.job, keys.flight], args)]

    def release(
        self,
        job_id: str,
        lane: int,
        owner: str,
        requests: Sequence[ReleaseRequest],
        *,
        fatal_limit: int,
        why: str = "",
    ) -> list[Released]:
        """Give up leases without settling. `why` is the reason of the hold that fatal errors bring."""
        keys = self._db.job_keys(job_id)
        change = json.dumps({"change": "paused", "by": "worker", "why": why})[1:-1]
        args: list[Arg] = [self._db.now_arg, self._db.dark_ms, owner, fatal_limit, why, change]
        for one in requests:
            error = codec.dump(one.attempt.wire()) if one.attempt else ""
            args += (
                one.position,
                one.nonce,
                one.delay_ms,
                one.kind,
                int(one.by_message),
                one.waited_ms,
                error,
            )
            args += _usage_args(one.usage, one.cost_usd)
        replies = self._db.run(
            "release", [keys.job, keys.states, keys.flight, keys.lane(lane), keys.back(lane), keys.log], args
        )
        held = replies[-1][0] == b"held"
        return [
            Released(reply[0].decode(), int(reply[1]) if len(reply) > 1 else 0, held)
            for reply in replies[:-1]
        ]

    def settle(self, job_id: str, lane: int, owner: str, requests: Sequence[SettleRequest]) -> Settled:
        keys = self._db.job_keys(job_id)
        args: list[Arg] = [self._db.now_arg, owner, self._db.letter_limit]
        for one in requests:
            bucket = "" if one.bucket is None else one.bucket
            args += (one.position, one.nonce, one.byte, one.outcome, bucket, one.duration_ms)
            args += (*_usage_args(one.usage, one.cost_usd), one.kind)
        used = [
            keys.job,
            keys.states,
            keys.flight,
            keys.lane(lane),
            keys.results,
            keys.slow,
            keys.shards,
            keys.box,
        ]
        *answers, flags = self._db.run("settle", used, args)
        return Settled(
            tuple(answer[0].decode() for answer in answers),
            done=flags[0] == b"1",
            refill=flags[1] == b"1",
            complete=tuple(int(shard) for shard in flags[2:]),
        )

    def heal(
        self,
        spec: JobSpec,
        *,
        alive: Sequence[str],
        grace_until_ms: int,
        lease_ms: int,
        lease_max_ms: int,
        undelivered_ms: int,
        max_crashes: int,
    ) -> Healed:
        """Bring back what dead workers and lost messages left behind, the whole flight in slices."""
        keys = self._db.job_keys(spec.id)
        cursor, counts, shards = "0", [0, 0, 0, 0], set[int]()
        while True:
            head: list[Arg] = [self._db.now_arg, SCHEMA, cursor, self._db.dark_ms, grace_until_ms]
            limits: list[Arg] = [
                lease_ms,
                lease_max_ms,
                undelivered_ms,
                max_crashes,
                poison_outcome(max_crashes),
                self._db.letter_limit,
            ]
            reply = self._db.run(
                "heal",
                [keys.job, keys.states, keys.flight, keys.results, keys.box, *keys.lanes(len(spec.lanes))],
                [*head, *limits, *alive],
            )
            cursor = reply[0].decode()
            counts = [total + int(part) for total, part in zip(counts, reply[1:5], strict=True)]
            shards.update(int(one) for one in reply[5:])
            if cursor == "0":
                back, poisoned, cancelled, lost_calls = counts
                return Healed(back, poisoned, cancelled, lost_calls, tuple(sorted(shards)))

    def redrive(
        self,
        job_id: str,
        lane: int,
        items: Sequence[tuple[int, int, str]],
        *,
        first: bool,
        change: str,
        lanes: int,
    ) -> int:
        """Send dead letters back as pending. `items` are position, shard and error kind. Returns how many were."""
        keys = self._db.job_keys(job_id)
        used = [keys.job, keys.states, keys.results, keys.log, keys.lane(lane)]
        rest = [key for key in keys.all(lanes) if key not in used]
        flat = [part for item in items for part in item]
        args: list[Arg] = [self._db.now_arg, SCHEMA, int(first), change, *flat]
        # On the agenda before and after: before, should this process die in between; after, should a sweeper
        # have looked in between and found the job ended still.
        put_on_agenda = ("ZADD", self._db.keys.due, self._db.server_ms(), job_id)
        self._db.command(*put_on_agenda)
        answer = self._db.run("redrive", [*used, *rest], args)
        if answer[0] == b"gone":
            raise NotFound(f"no job {job_id}: never there, expired or deleted")
        if answer[0] == b"newer":
            raise NewerData(f"job {job_id} was stored by a newer batchq: upgrade this one")
        if answer[0] == b"ended":
            raise Conflict(f"job {job_id} is cancelled: its dead letters cannot be redriven")
        if int(answer[1]):
            self._db.command(*put_on_agenda)
        return int(answer[1])

    # -- reading --------------------------------------------------------------------------------------------

    def shard(self, job_id: str, number: int) -> codec.Shard:
        """A shard's items. Raises NotFound when the job is gone."""
        blob = self._db.command("HGET", self._db.job_keys(job_id).input, number)
        if blob is None:
            raise NotFound(f"job {job_id} has no shard {number}: expired or deleted")
        return codec.unpack_shard(number, blob)

    def file(self, job_id: str, digest: str) -> bytes | None:
        """The bytes of an inlined file."""
        data: bytes | None = self._db.command("HGET", self._db.job_keys(job_id).files, digest)
        return data

    def table(self, job_id: str) -> Iterator[ShardRow]:
        """(shard, base, items, lane) of every shard, in order."""
        keys, page = self._db.job_keys(job_id), 0
        while True:
            start = page * TABLE_PAGE * SHARD_ENTRY
            raw = self._db.command(
                "GETRANGE", keys.shards, start, start + TABLE_PAGE * SHARD_ENTRY - 1
            ).decode()
            for at in range(0, len(raw), SHARD_ENTRY):
                number = page * TABLE_PAGE + at // SHARD_ENTRY
                yield number, int(raw[at : at + 12]), int(raw[at + 12 : at + 17]), int(raw[at + 17 : at + 20])
            if len(raw) < TABLE_PAGE * SHARD_ENTRY:
                return
            page += 1

    def results(
        self, job_id: str, *, lanes: int, wait: Callable[[], bool] | None = None
    ) -> Iterator[StoredResult]:
        """Every item in input order, one shard in memory for each lane.

        With `wait`, an open item is waited for: `wait()` pauses, and answers False when nothing more can come.
        """
        if lanes <= 1:
            for number, base, n, _ in self.table(job_id):
                yield from self._awaited(job_id, number, base, n, wait)
            return
        table = list(self.table(job_id))
        streams = [
            self._lane_results(job_id, [row for row in table if row[3] == lane], wait)
            for lane in range(lanes)
        ]
        yield from heapq.merge(*streams, key=lambda result: result.ordinal)

    def _lane_results(
        self, job_id: str, rows: Sequence[ShardRow], wait: Callable[[], bool] | None
    ) -> Iterator[StoredResult]:
        for number, base, n, _ in rows:
            yield from self._awaited(job_id, number, base, n, wait)

    def _awaited(
        self, job_id: str, number: int, base: int, n: int, wait: Callable[[], bool] | None
    ) -> Iterator[StoredResult]:
        """A shard's items; with `wait` each only once it is settled."""
        given, over = 0, wait is None
        while True:
            for result in list(self.shard_results(job_id, number, base, n))[given:]:
                if result.outcome is None and not over:
                    break
                given += 1
                yield result
            if given >= n or wait is None:
                return
            over = not wait()

    def dead(self, job_id: str) -> Iterator[StoredResult]:
        """Failed and dead-lettered items, found by scanning the states: shards without one are not read."""
        keys = self._db.job_keys(job_id)
        for number, base, n, _ in self.table(job_id):
            states = self._db.command("GETRANGE", keys.states, base, base + n - 1)
            if b"F" in states or b"D" in states:
                for result in self.shard_results(job_id, number, base, n):
                    if result.state in DEAD_LETTERS:
                        yield result

    def purge(self, job_id: str, positions: Sequence[int]) -> None:
        """Take dead letters off the list; counts and results stay."""
        keys = self._db.job_keys(job_id)
        self._db.command("SADD", keys.purged, *positions)
        left_ms = self._db.command("PTTL", keys.job)  # -1: for ever; -2: gone
        if left_ms == -2:
            self._db.command("UNLINK", keys.purged)
        elif left_ms >= 0:
            self._db.command("PEXPIRE", keys.purged, left_ms)

    def purged(self, job_id: str) -> set[int]:
        return {int(one) for one in self._db.command("SMEMBERS", self._db.job_keys(job_id).purged)}

    def is_purged(self, job_id: str, position: int) -> bool:
        return bool(self._db.command("SISMEMBER", self._db.job_keys(job_id).purged, position))

    def shard_results(self, job_id: str, number: int, base: int, n: int) -> Iterator[StoredResult]:
        keys = self._db.job_keys(job_id)
        positions = range(base, base + n)
        # states before loose, so that what is seen settled has its outcome; loose before packed, because a
        # compaction in between moves outcomes from the first to the second
        blob, states, loose, packed = self._db.batch(
            [
                ("HGET", keys.input, number),
                ("GETRANGE", keys.states, base, base + n - 1),
                ("HMGET", keys.results, *positions),
                ("HGET", keys.output, number),
            ]
        )
        if blob is None:
            raise NotFound(f"job {job_id} is gone: expired or deleted")
        shard = codec.unpack_shard(number, blob)
        compacted = codec.unpack_outcomes(packed) if packed else [None] * n
        for index, (item, byte) in enumerate(zip(shard.items, states.decode(), strict=True)):
            outcome, state = _outcome(byte, loose[index], compacted[index]), STATE_OF_BYTE[byte]
            if outcome is not None:
                state = outcome.status
            elif state in SETTLED:
                state = ItemState.PENDING  # redriven since its state was read
            yield StoredResult(
                position=base + index,
                ordinal=item.ordinal,
                id=item.id,
                lane=shard.lane,
                shard=number,
                state=state,
                input=item.input,
                outcome=outcome,
            )

    # -- compacting -----------------------------------------------------------------------------------------

    def compact(self, job_id: str, number: int) -> bool:
        """Replace the outcomes of a complete shard by one blob. False: not complete, or redriven meanwhile."""
        keys = self._db.job_keys(job_id)
        start = number * SHARD_ENTRY
        # the version first: whatever changes after it makes the write fail
        version, entry = self._db.batch(
            [("HGET", keys.job, f"ver:{number}"), ("GETRANGE", keys.shards, start, start + SHARD_ENTRY - 1)]
        )
        if not entry:
            return False
        base, n = int(entry[:12]), int(entry[12:17])
        # loose before packed: another compaction in between moves outcomes from the first to the second
        states, loose, packed = self._db.batch(
            [
                ("GETRANGE", keys.states, base, base + n - 1),
                ("HMGET", keys.results, *range(base, base + n)),
                ("HGET", keys.output, number),
            ]
        )
        if packed is not None and not any(loose):
            return True
        if len(states) < n or any(byte not in b"SFDX" for byte in states):
            return False
        compacted = codec.unpack_outcomes(packed) if packed else [None] * n
        texts = [
            codec.raw_outcome(one) if one is not None else codec.dump(old)
            for one, old in zip(loose, compacted, strict=True)
        ]
        reply = self._db.run(
            "compact",
            [keys.job, keys.states, keys.output, keys.results],
            [SCHEMA, number, version or b"0", base, n, codec.pack_outcomes(texts)],
        )
        return bool(reply[0] == b"ok")

    def loose_shards(self, job_id: str) -> list[int]:
        """Shards with outcomes that are not compacted yet: a worker died between settling and compacting."""
        positions = sorted(int(one) for one in self._db.command("HKEYS", self._db.job_keys(job_id).results))
        found: list[int] = []
        if not positions:
            return found
        at = 0
        for number, base, n, _ in self.table(job_id):
            while at < len(positions) and positions[at] < base:
                at += 1
            if at < len(positions) and positions[at] < base + n:
                found.append(number)
        return found


def _usage_args(usage: Usage, cost_usd: float | None) -> tuple[int, int, int, int]:
    return usage.input_tokens, usage.output_tokens, usage.cached_tokens, round((cost_usd or 0.0) * NANO)


def _claimed(request: ClaimRequest, reply: Sequence[bytes]) -> Claimed:
    verdict = Verdict(reply[0].decode())
    if verdict is not Verdict.OK:
        return Claimed(verdict)
    shard, attempts, crashes, limited, waited = (int(part) for part in reply[1:6])
    history = tuple(Attempt.from_wire(line) for line in json.loads(reply[6]))
    return Claimed(
        verdict, Lease(request.position, request.nonce, shard, attempts, crashes, limited, waited, history)
    )


def _outcome(byte: str, loose: bytes | None, compacted: Mapping[str, object] | None) -> Outcome | None:
    """The outcome in force. The state decides: after a redrive an older one may still lie in the shard's blob."""
    if byte == ItemByte.CANCELLED:
        return CANCELLED
    if byte not in (ItemByte.SUCCEEDED, ItemByte.FAILED, ItemByte.DEAD_LETTER):
        return None
    if loose is not None:
        return Outcome.from_wire(json.loads(codec.raw_outcome(loose)))
    return Outcome.from_wire(compacted) if compacted is not None else None
