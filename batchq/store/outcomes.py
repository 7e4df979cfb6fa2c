"""What came of the items of a job: read in input order, compacted, taken off the list of dead letters."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from batchq.core.lifecycle import DEAD_LETTERS, SETTLED, STATE_OF_BYTE, ItemByte, ItemState
from batchq.core.records import ErrorInfo, History, Outcome, joined
from batchq.errors import NotFound
from batchq.store import codec
from batchq.store.database import Database
from batchq.store.inputs import SHARD_ENTRY, InputStore, ShardRow, at_once
from batchq.store.keys import SCHEMA
from batchq.store.leases import RedriveRequest

Value = TypeVar("Value")


class Patience(Protocol):
    """Of a reader that waits for what is not settled yet."""

    def pause(self) -> bool:
        """Wait a moment; False when nothing more can come."""

    def read(self, what: Callable[[], Value], /) -> Value:
        """Its answer, however long the server is away."""


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
    compacted: bool  # the outcome is in its shard's blob

    def redrive(self) -> RedriveRequest:
        outcome = self.outcome
        kind = outcome.error.status if outcome is not None and outcome.error is not None else ""
        history = outcome.history if outcome is not None and not self.compacted else ()
        return RedriveRequest(self.position, self.shard, kind, history)


CANCELLED = Outcome(ItemState.CANCELLED, error=ErrorInfo(0, "CANCELLED", "the job was cancelled first"))


class OutcomeStore:
    def __init__(self, database: Database, inputs: InputStore) -> None:
        self._db, self._inputs = database, inputs

    def results(self, job_id: str, *, lanes: int, patience: Patience | None = None) -> Iterator[StoredResult]:
        """Every item in input order, one shard in memory for each lane. With `patience` an open item is waited for."""
        rows = self._inputs.table(job_id, at_once if patience is None else patience.read)
        if lanes <= 1:
            for number, base, n, _ in rows:
                yield from self._awaited(job_id, number, base, n, patience)
            return
        table = list(rows)
        streams = [
            self._lane_results(job_id, [row for row in table if row[3] == lane], patience)
            for lane in range(lanes)
        ]
        yield from heapq.merge(*streams, key=lambda result: result.ordinal)

    def _lane_results(
        self, job_id: str, rows: Sequence[ShardRow], patience: Patience | None
    ) -> Iterator[StoredResult]:
        for number, base, n, _ in rows:
            yield from self._awaited(job_id, number, base, n, patience)

    def _awaited(
        self, job_id: str, number: int, base: int, n: int, patience: Patience | None
    ) -> Iterator[StoredResult]:
        """A shard's items; with `patience` each only once it is settled."""
        if patience is None:
            yield from self.shard_results(job_id, number, base, n)
            return
        given, over = 0, False
        while given < n:
            found = patience.read(lambda: list(self.shard_results(job_id, number, base, n)))
            for result in found[given:]:
                if result.outcome is None and not over:
                    break
                given += 1
                yield result
            over = given < n and not patience.pause()

    def keep_file(self, job_id: str, digest: str, data: bytes) -> None:
        """Store what an answer names by its digest, see core/pictures.py."""
        keys = self._db.job_keys(job_id)
        self._db.run("keep_file", [keys.job, keys.files], [digest, data])

    def file(self, job_id: str, digest: str) -> bytes:
        """Raises NotFound when the job is gone."""
        data = self._inputs.file(job_id, digest)
        if data is None:
            raise NotFound(f"job {job_id} is gone: expired or deleted")
        return data

    def dead(self, job_id: str) -> Iterator[StoredResult]:
        """Dead letters that are not purged, found by scanning the states: shards without one are not read."""
        keys = self._db.job_keys(job_id)
        for number, base, n, _ in self._inputs.table(job_id):
            states = self._db.command("GETRANGE", keys.states, base, base + n - 1)
            if b"F" not in states and b"D" not in states:
                continue
            found = [one for one in self.shard_results(job_id, number, base, n) if one.state in DEAD_LETTERS]
            if found:
                positions = [one.position for one in found]
                gone = self._db.command("SMISMEMBER", keys.purged, *positions)
                yield from (one for one, is_gone in zip(found, gone, strict=True) if not is_gone)

    def purge(self, job_id: str, positions: Sequence[int]) -> None:
        """Take some dead letters off the list; counts and results stay."""
        keys = self._db.job_keys(job_id)
        self._db.command("SADD", keys.purged, *positions)
        left_ms = self._db.command("PTTL", keys.job)  # -1: for ever; -2: gone
        if left_ms == -2:
            self._db.command("UNLINK", keys.purged)
        elif left_ms >= 0:
            self._db.command("PEXPIRE", keys.purged, left_ms)

    def is_purged(self, job_id: str, position: int) -> bool:
        return bool(self._db.command("SISMEMBER", self._db.job_keys(job_id).purged, position))

    def shard_results(self, job_id: str, number: int, base: int, n: int) -> Iterator[StoredResult]:
        keys = self._db.job_keys(job_id)
        positions = range(base, base + n)
        # states before loose, so that what is seen settled has its outcome; loose before packed, because a
        # compaction in between moves outcomes from the first to the second
        blob, states, loose, past, packed = self._db.batch(
            [
                ("HGET", keys.input, number),
                ("GETRANGE", keys.states, base, base + n - 1),
                ("HMGET", keys.results, *positions),
                ("HMGET", keys.past, *positions),
                ("HGET", keys.output, number),
            ]
        )
        if blob is None:
            raise NotFound(f"job {job_id} is gone: expired or deleted")
        shard = codec.unpack_shard(number, blob)
        compacted = codec.unpack_outcomes(packed) if packed else [None] * n
        for index, (item, byte) in enumerate(zip(shard.items, states.decode(), strict=True)):
            outcome = _outcome(byte, loose[index], past[index], compacted[index])
            state = STATE_OF_BYTE[byte]
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
                compacted=loose[index] is None,
            )

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
        states, loose, past, packed = self._db.batch(
            [
                ("GETRANGE", keys.states, base, base + n - 1),
                ("HMGET", keys.results, *range(base, base + n)),
                ("HMGET", keys.past, *range(base, base + n)),
                ("HGET", keys.output, number),
            ]
        )
        if packed is not None and not any(loose):
            return True
        if len(states) < n or any(byte not in b"SFDX" for byte in states):
            return False
        compacted = codec.unpack_outcomes(packed) if packed else [None] * n
        texts = [_outcome_text(*one) for one in zip(loose, past, compacted, strict=True)]
        reply = self._db.run(
            "compact",
            [keys.job, keys.states, keys.output, keys.results, keys.past],
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
        for number, base, n, _ in self._inputs.table(job_id):
            while at < len(positions) and positions[at] < base:
                at += 1
            if at < len(positions) and positions[at] < base + n:
                found.append(number)
        return found


def _outcome(
    byte: str, loose: bytes | None, past: bytes | None, compacted: Mapping[str, Any] | None
) -> Outcome | None:
    """The outcome in force. The state decides: after a redrive an older one may still lie in the shard's blob."""
    if byte == ItemByte.CANCELLED:
        return CANCELLED
    if byte not in (ItemByte.SUCCEEDED, ItemByte.FAILED, ItemByte.DEAD_LETTER):
        return None
    if loose is not None:
        return _whole(loose, past, compacted)
    return Outcome.from_wire(compacted) if compacted is not None else None


def _whole(loose: bytes, past: bytes | None, compacted: Mapping[str, Any] | None) -> Outcome:
    """A loose outcome with what came before its redrive: kept aside, else in the shard's blob still."""
    outcome = Outcome.from_wire(json.loads(codec.raw_outcome(loose)))
    earlier: History = ()
    if past is not None:
        earlier = codec.unpack_history(past)
    elif compacted is not None:
        earlier = Outcome.from_wire(compacted).history
    return replace(outcome, history=joined(earlier, outcome.history))


def _outcome_text(loose: bytes | None, past: bytes | None, compacted: Mapping[str, Any] | None) -> bytes:
    """An outcome as its shard's blob holds it, JSON."""
    if loose is None:
        return codec.dump(compacted)
    if past is None and compacted is None:
        return codec.raw_outcome(loose)
    return codec.dump(_whole(loose, past, compacted).wire())
