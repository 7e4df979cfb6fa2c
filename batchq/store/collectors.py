"""Items that processes add one by one until they are a job: durable from the moment they are stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from batchq.errors import Conflict
from batchq.store.database import Arg, Database

OWNER_STALE_MS = 30_000  # who makes a job of a batch for longer is dead


@dataclass(frozen=True, slots=True)
class Batch:
    """Items that become one job. The number is the same whoever makes the job, and however often."""

    number: int
    items: tuple[dict[str, Any], ...]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NoBatch:
    """`wait_ms`: until there may be one; None: nothing waits. `busy`: somebody else makes a job of one."""

    wait_ms: int | None = None
    busy: bool = False


@dataclass(frozen=True, slots=True)
class CollectorView:
    """How a collector stands."""

    name: str
    waiting: int  # items in no batch yet
    in_batch: int  # items of the batch that is being made a job
    batches: int  # made so far
    flush_items: int
    flush_after_s: float
    oldest: float | None  # Unix seconds at which the oldest waiting item came, or the last batch was cut
    error: str | None  # why the last batch is no job yet


class CollectorStore:
    """Named operations on collectors."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(
        self, name: str, item: dict[str, Any], digest: str, *, flush_items: int, flush_ms: int, options: str
    ) -> int:
        """Store an item; how many wait now. Raises Conflict: another one with its id waits already."""
        keys = self._db.collector_keys(name)
        # on the agenda before it is stored: should this process die in between, nothing is forgotten
        self._due(name, self._db.server_ms() + flush_ms)
        fields: list[Arg] = ["flush_items", flush_items, "flush_ms", flush_ms, "options", options]
        reply = self._db.run(
            "collect",
            [keys.collector, keys.open, keys.ids],
            [self._db.now_arg, item["id"], digest, json.dumps(item), *fields],
        )
        if reply[0] == b"conflict":
            raise Conflict(
                f"an item {item['id']!r} with other content waits in collector {name}: ids must differ"
            )
        waiting = int(reply[1])
        if waiting >= flush_items:
            self._due(name, self._db.server_ms())
        return waiting

    def cut(self, name: str, owner: str, *, force: bool) -> Batch | NoBatch:
        keys = self._db.collector_keys(name)
        reply = self._db.run(
            "cut",
            [keys.collector, keys.open, keys.batch],
            [self._db.now_arg, owner, int(force), OWNER_STALE_MS],
        )
        answer = reply[0].decode()
        if answer != "ok":
            return NoBatch(int(reply[1]) if answer == "wait" else None, busy=answer == "busy")
        items = tuple(json.loads(one) for one in self._db.command("LRANGE", keys.batch, 0, -1))
        return Batch(int(reply[1]), items, json.loads(reply[2]))

    def done(self, name: str, batch: Batch) -> None:
        keys = self._db.collector_keys(name)
        ids = [item["id"] for item in batch.items]
        self._db.run("cut_done", [keys.collector, keys.batch, keys.ids], [batch.number, *ids])

    def failed(self, name: str, error: str) -> None:
        """Why its batch is no job yet; the next who asks gets it."""
        collector = self._db.collector_keys(name).collector
        self._db.batch([("HSET", collector, "error", error), ("HDEL", collector, "owner", "owned")])

    def due(self, limit: int) -> list[str]:
        now = self._db.server_ms()
        found = self._db.command("ZRANGEBYSCORE", self._db.keys.collectors, "-inf", now, "LIMIT", 0, limit)
        return [one.decode() for one in found]

    def check_again(self, name: str, after_ms: int) -> None:
        self._db.command("ZADD", self._db.keys.collectors, self._db.server_ms() + after_ms, name)

    def views(self) -> list[CollectorView]:
        return [
            self._view(one.decode())
            for one in sorted(self._db.command("ZRANGE", self._db.keys.collectors, 0, -1))
        ]

    def _view(self, name: str) -> CollectorView:
        keys = self._db.collector_keys(name)
        raw, waiting, in_batch = self._db.batch(
            [("HGETALL", keys.collector), ("LLEN", keys.open), ("LLEN", keys.batch)]
        )
        known = {field.decode(): value.decode() for field, value in raw.items()}
        first = known.get("first")
        return CollectorView(
            name=name,
            waiting=int(waiting),
            in_batch=int(in_batch),
            batches=int(known.get("batches", 0)) - bool(in_batch),
            flush_items=int(known.get("flush_items", 0)),
            flush_after_s=int(known.get("flush_ms", 0)) / 1000,
            oldest=int(first) / 1000 if first and waiting else None,
            error=known.get("error"),
        )

    def _due(self, name: str, at_ms: int) -> None:
        self._db.command("ZADD", self._db.keys.collectors, "LT", at_ms, name)
