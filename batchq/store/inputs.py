"""What was submitted: the shards of a job, their table, the bytes of its files."""

from __future__ import annotations

from collections.abc import Iterator

from batchq.errors import NotFound
from batchq.store import codec
from batchq.store.database import Database

SHARD_ENTRY = 20  # bytes of an entry in the table of shards
TABLE_PAGE = 1_000  # entries read at once
ShardRow = tuple[int, int, int, int]  # number of a shard, position of its first item, items, lane


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
