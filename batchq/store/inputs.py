"""What was submitted: the shards of a job, their table, the bytes of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from batchq.errors import NotFound
from batchq.store import codec
from batchq.store.database import Database

SHARD_ENTRY = 20  # bytes of an entry in the table of shards
TABLE_PAGE = 1_000  # entries read at once
ShardRow = tuple[int, int, int, int]  # number of a shard, position of its first item, items, lane


def at_once(ask: Callable[[], bytes]) -> bytes:
    return ask()


class InputStore:
    def __init__(self, database: Database) -> None:
        self._db = database

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

    def table(
        self, job_id: str, read: Callable[[Callable[[], bytes]], bytes] = at_once
    ) -> Iterator[ShardRow]:
        """(shard, base, items, lane) of every shard, in order. `read` asks for a page, perhaps again and again."""
        page = 0
        while True:
            raw = read(partial(self._page, job_id, page)).decode()
            for at in range(0, len(raw), SHARD_ENTRY):
                number = page * TABLE_PAGE + at // SHARD_ENTRY
                yield number, int(raw[at : at + 12]), int(raw[at + 12 : at + 17]), int(raw[at + 17 : at + 20])
            if len(raw) < TABLE_PAGE * SHARD_ENTRY:
                return
            page += 1

    def _page(self, job_id: str, page: int) -> bytes:
        start = page * TABLE_PAGE * SHARD_ENTRY
        end = start + TABLE_PAGE * SHARD_ENTRY - 1
        found: bytes = self._db.command("GETRANGE", self._db.job_keys(job_id).shards, start, end)
        return found
