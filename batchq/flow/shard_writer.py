"""The part of a submission that checks each item and writes them in shards, one open shard a lane."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from batchq.core.lifecycle import ItemByte, ItemState
from batchq.core.pricing import price_of
from batchq.core.records import ErrorInfo, FileRef, Item, Outcome
from batchq.errors import BatchqError, Complaint, ConfigurationError, InputError, NotEnoughMemory
from batchq.flow.seen_ids import SeenIds
from batchq.flow.submission import Submission
from batchq.flow.walk import Walk
from batchq.formats import files, row_id
from batchq.operations.base import Blob
from batchq.store import codec
from batchq.store.job_record import Lane
from batchq.store.jobs import Memory
from batchq.store.keys import MAX_LANES

MEMORY_CHECK_S = 1.0
MEMORY_CHECK_BYTES = 8_000_000
MEMORY_SHARE = 0.95  # of maxmemory that a submission may fill
INLINE_LIMIT = 1_000_000_000  # bytes of files stored in one job
SHOWN_PROBLEMS = 20


@dataclass(slots=True)
class _Open:
    """The shard of one lane that is being filled."""

    lane: Lane
    ordinals: list[int] = field(default_factory=list)
    items: list[bytes] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    settled: list[tuple[int, bytes, str]] = field(default_factory=list)  # index in the shard, outcome, kind
    raw_bytes: int = 0


class ShardWriter:
    """Checks items and writes them in shards; with `store` False it only computes the digest."""

    def __init__(
        self,
        walk: Walk,
        submission: Submission,
        job_id: str,
        nonce: str,
        preflight: Callable[[str], None] | None,
        *,
        store: bool,
        look: Callable[[Lane, Item], None] = lambda *_: None,
    ) -> None:
        """`look` sees each item that can be sent, and its lane."""
        self.submission = submission
        self.total = 0
        self.failed = 0
        self.problems: list[Complaint] = []
        self._walk, self._job_id, self._nonce, self._store = walk, job_id, nonce, store
        self._preflight, self._look = preflight, look
        self._ids = SeenIds()
        self._hash = hashlib.sha256(_identity(submission))
        self._lanes: dict[tuple[str, str | None], _Open] = {}
        self._shards = 0
        self._stored = 0  # items in written shards, so the base of the next
        self._ratio = 0.5  # compressed to raw, of the last shard
        self._files: set[str] = set()
        self._file_bytes = 0
        self._memory_checked = 0.0
        self._unchecked = 0  # bytes written since

    def fault(self, item: Item) -> Complaint | None:
        """How the item breaks the list: its id stands twice, or its operation is not known."""
        place, row = item.place or f"item {self.total + 1}", self.total + 1
        first = self._ids.add(item.id, row)
        if first is not None:
            return Complaint(place, f"id {item.id!r} stands already at item {first}: ids must differ", row)
        if item.operation is not None:
            try:
                self._walk.operation(item.operation)
            except ConfigurationError as exc:
                return Complaint(place, str(exc), row)
        return None

    def add(self, item: Item) -> Complaint | None:
        """Store one item; a complaint when it breaks the list."""
        complaint = self.fault(item)
        if complaint is not None:
            return complaint
        self._put(item, self._open(item))
        return None

    def add_bad_line(self, complaint: Complaint) -> None:
        """--skip-bad: what breaks the list becomes a failed item, named after its place."""
        identity = row_id(complaint.row or self.total + 1)
        if self._ids.add(identity, self.total + 1) is not None:
            identity = f"{identity}-{secrets.token_hex(3)}"
            self._ids.add(identity, self.total + 1)
        problem = ErrorInfo(0, "BAD_LINE", str(complaint))
        item = Item(identity, {}, None, problem, complaint.place)
        self._put(item, self._open(item))

    def finish(self) -> list[Lane]:
        """Write what is left; the job's lanes."""
        for shard in self._lanes.values():
            self._flush(shard)
        return [shard.lane for shard in self._lanes.values()]

    def close(self) -> None:
        """To be called whatever became of the submission."""
        self._ids.close()

    def digest(self) -> str:
        return self._hash.hexdigest()

    def _open(self, item: Item) -> _Open:
        name = item.operation or self.submission.operation
        operation = self._walk.operation(name)
        model = None
        if operation.default_model is not None or operation.needs_provider:
            model = (
                self.submission.model or self._walk.settings.operation(name).model or operation.default_model
            )
        key = (name, model)
        shard = self._lanes.get(key)
        if shard is None:
            if len(self._lanes) >= MAX_LANES:
                raise InputError(f"more than {MAX_LANES} kinds of operations in one job: submit several jobs")
            if item.operation is not None:
                problem = operation.check_job(self.submission.options, self.submission.schema)
                if problem is not None:
                    raise InputError(f"{item.place or item.id}: operation {name}: {problem}")
            if self.submission.max_cost is not None:
                self._check_priced(name, model)
            if model is not None and self._preflight is not None and self._store:
                self._preflight(model)
            shard = self._lanes[key] = _Open(Lane(len(self._lanes), name, model))
        return shard

    def _check_priced(self, operation: str, model: str | None) -> None:
        if model is None:
            raise InputError(
                f"--max-cost cannot bound operation {operation}: it asks no model that has a price"
            )
        if price_of(model, self._walk.prices) is None:
            raise InputError(
                f"--max-cost: no price is known for {model}: give it one in batchq.toml, here and for the workers: "
                f'[prices."{model}"] with input and output, USD a million tokens'
            )

    def _put(self, item: Item, shard: _Open) -> None:
        stored, problem = self._checked(item, shard)
        text = codec.dump([item.id, stored])
        self._hash.update(text)
        self._hash.update(shard.lane.operation.encode())
        if problem is None:
            self._look(shard.lane, item)
        else:
            self._note_problem(item, problem)
            outcome = codec.pack_outcome(Outcome(ItemState.FAILED, error=problem))
            shard.settled.append((len(shard.items), outcome, problem.status))
        shard.states.append(ItemByte.NEW if problem is None else ItemByte.FAILED)
        shard.ordinals.append(self.total)
        shard.items.append(text)
        shard.raw_bytes += len(text)
        self.total += 1
        settings = self._walk.settings
        if len(shard.items) >= settings.shard_items or shard.raw_bytes * self._ratio >= settings.shard_bytes:
            self._flush(shard)

    def _checked(self, item: Item, shard: _Open) -> tuple[Mapping[str, object], ErrorInfo | None]:
        """The input as it is stored, and what is wrong with the item."""
        if item.problem is not None:
            return _kept(item.input), item.problem
        stored = dict(item.input)
        if "file" in stored:
            ref = self._file(stored["file"], shard.lane.operation)
            if isinstance(ref, ErrorInfo):
                return _kept(item.input), ref
            stored["file"] = ref.wire()
        message = self._walk.operation(shard.lane.operation).check(stored, shard.lane.model)
        return stored, ErrorInfo(0, "INVALID_INPUT", message) if message is not None else None

    def _file(self, raw: object, operation: str) -> FileRef | ErrorInfo:
        if not isinstance(raw, Mapping) or "path" not in raw:
            return ErrorInfo(0, "WRONG_TYPE", "file must be a path")
        if "sha256" in raw:
            return FileRef.from_wire(raw)
        path = str(raw["path"])
        ref = files.inspect(path, str(raw.get("name", path)))
        if isinstance(ref, ErrorInfo):
            return ref
        try:
            data = files.load(ref, ["/"])
        except BatchqError as exc:
            return ErrorInfo(0, "FILE_UNREADABLE", str(exc))
        problem = self._walk.operation(operation).check_file(Blob(ref.name, data))
        if problem is not None:
            return ErrorInfo(0, "FILE_UNREADABLE", problem)
        if self.submission.files == "path":
            return ref
        if ref.sha256 not in self._files:
            self._file_bytes += ref.size
            if self._file_bytes > INLINE_LIMIT:
                raise InputError(
                    f"the files have more than {INLINE_LIMIT / 1e9:g} GB, too much to store with the job: make their "
                    "folder a file root of the workers (BATCHQ_FILE_ROOTS) and use --files path"
                )
            if self._store:
                with self._within_memory(len(data)):
                    self._walk.submissions.put_file(self._job_id, self._nonce, ref.sha256, data)
            self._files.add(ref.sha256)
        return FileRef(ref.name, ref.sha256, ref.size, None)

    def _note_problem(self, item: Item, problem: ErrorInfo) -> None:
        self.failed += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            place = item.place or f"item {item.id}"
            message = problem.message.removeprefix(f"{place}: ")
            self.problems.append(Complaint(place, f"{message} ({problem.status})", self.total + 1))

    def _flush(self, shard: _Open) -> None:
        if not shard.items:
            return
        if self._store:
            blob = codec.pack_shard(self._stored, shard.lane.number, shard.ordinals, shard.items)
            self._ratio = max(0.01, len(blob) / shard.raw_bytes)
            with self._within_memory(len(blob)):
                self._walk.submissions.put_shard(
                    self._job_id,
                    self._nonce,
                    number=self._shards,
                    base=self._stored,
                    lane=shard.lane.number,
                    blob=blob,
                    states="".join(shard.states),
                    settled=[(self._stored + index, outcome, kind) for index, outcome, kind in shard.settled],
                )
        self._shards += 1
        self._stored += len(shard.items)
        fresh = _Open(shard.lane)
        self._lanes[(shard.lane.operation, shard.lane.model)] = fresh

    def _check_memory(self, coming: int) -> None:
        """Refuse in good time: a full server refuses the writes of running jobs too."""
        now = time.monotonic()
        self._unchecked += coming
        if now - self._memory_checked < MEMORY_CHECK_S and self._unchecked < MEMORY_CHECK_BYTES:
            return
        self._memory_checked, self._unchecked = now, 0
        memory = self._walk.jobs.memory()
        if memory.limit and memory.used + coming > memory.limit * MEMORY_SHARE:
            raise self._does_not_fit(memory)

    def _does_not_fit(self, memory: Memory) -> NotEnoughMemory:
        return NotEnoughMemory(
            f"the submission does not fit: the server uses {memory.used / 1e6:,.0f} MB of its "
            f"{memory.limit / 1e6:,.0f} MB after {self.total:,} items; nothing was stored. Raise its maxmemory, "
            "delete finished jobs, or submit less at once"
        )

    @contextmanager
    def _within_memory(self, coming: int) -> Iterator[None]:
        """A write of so many bytes; when the server is full all the same, its refusal gets the figures too."""
        self._check_memory(coming)
        try:
            yield
        except NotEnoughMemory as exc:
            raise self._does_not_fit(self._walk.jobs.memory()) from exc


def _kept(input: Mapping[str, object]) -> Mapping[str, object]:
    """What is stored of an item that cannot be sent: what is needed to review it, not megabytes of it."""
    text = codec.dump(input)
    return input if len(text) <= 10_000 else {"omitted": f"{len(text)} bytes"}


def _identity(submission: Submission) -> bytes:
    """What makes two submissions the same, apart from their items."""
    return json.dumps(
        [submission.operation, submission.model, submission.options, submission.schema], sort_keys=True
    ).encode()
