"""Dead letters on their way from the store to the queue `batchq.dead_letter`.

The scripts that settle an item put its place into the job's outbox; whoever empties it removes an entry only after
the broker has the message. So a crash doubles a message and loses none; the truth is the item's state, not the feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchq.store.database import Database
from batchq.store.fleet import RELEASE

LOCK_MS = 30_000  # of one who empties an outbox; a dead one's place is taken then


@dataclass(frozen=True, slots=True)
class Letter:
    """Where a dead letter stands in its job."""

    shard: int
    position: int

    @property
    def entry(self) -> str:
        return f"{self.shard}:{self.position}"

    @classmethod
    def of(cls, entry: bytes) -> Letter:
        shard, _, position = entry.decode().partition(":")
        return cls(int(shard), int(position))


class Outbox:
    """Named operations on the outboxes of jobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def open(self, job_id: str, owner: str) -> bool:
        """Become the one who empties the outbox, for half a minute. False: somebody else is at it."""
        key = self._db.job_keys(job_id).box_lock
        return bool(self._db.command("SET", key, owner, "NX", "PX", LOCK_MS))

    def close(self, job_id: str, owner: str) -> None:
        self._db.command("EVAL", RELEASE, 1, self._db.job_keys(job_id).box_lock, owner)

    def waiting(self, job_id: str) -> bool:
        """Whether there is something to send."""
        return bool(self._db.command("LLEN", self._db.job_keys(job_id).box))

    def oldest(self, job_id: str, most: int) -> list[Letter]:
        found = self._db.command("LRANGE", self._db.job_keys(job_id).box, 0, most - 1)
        return [Letter.of(entry) for entry in found]

    def sent(self, job_id: str, letters: Sequence[Letter]) -> None:
        """Remove what the broker has."""
        # one by one and not by number: the scripts may have dropped the oldest meanwhile
        key = self._db.job_keys(job_id).box
        self._db.batch([("LREM", key, 1, letter.entry) for letter in letters])

    def count_redrive(self, job_id: str, position: int) -> int:
        """How often the queue has sent an item back, this time included."""
        keys = self._db.job_keys(job_id)
        return int(self._db.run("count_redrive", [keys.job, keys.redriven], [position])[0])
