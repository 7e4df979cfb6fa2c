"""Who is alive: heartbeats of worker processes, the sweeper's lock, and which jobs have work for a queue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchq.core.forecast import Pace, Work
from batchq.store.database import Database

# of the holder only: a compare-and-delete is the one thing the lock needs beyond SET NX
RELEASE = 'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0'


@dataclass(frozen=True, slots=True)
class Beat:
    """What a worker process says of itself. `queues` without the namespace."""

    incarnation: str  # one life of a process: host, pid, start nonce
    host: str
    pid: int
    slots: int  # items it runs at once
    queues: tuple[str, ...]
    pool: str
    version: str
    project: str  # whose quota its calls count against
    file_roots: tuple[str, ...] = ()
    name: str = ""  # Celery's of its worker; children of prefork share their worker's
    running: int = 0  # items it was at
    beat_ms: int = 0
    started_ms: int = 0
    warnings: tuple[str, ...] = ()  # of its start: it works, but not as it should
    limits: Mapping[str, str] = field(default_factory=dict)  # of quotas and queues, as its settings have them
    operations: Mapping[str, str] = field(default_factory=dict)  # of the user's own that it knows -> queue

    def body(self) -> str:
        return json.dumps(
            {
                "host": self.host,
                "pid": self.pid,
                "slots": self.slots,
                "queues": self.queues,
                "pool": self.pool,
                "version": self.version,
                "project": self.project,
                "file_roots": self.file_roots,
                "name": self.name,
                "running": self.running,
                "started_ms": self.started_ms,
                "warnings": self.warnings,
                "limits": self.limits,
                "operations": self.operations,
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True)
class Weather:
    """The store's clock, how long it was silent in all, and until when silence is forgiven (ms)."""

    now_ms: int
    dark_ms: int
    grace_until_ms: int
    server: str  # one life of the server; another after a restart or a failover


class FleetStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    def beat(self, beat: Beat, period_ms: int, lease_ms: int) -> Weather:
        """Say that a process lives. What it learns of outages is kept for the scripts of this process."""
        keys = [self._db.keys.beats, self._db.keys.weather]
        args = [self._db.now_arg, beat.incarnation, beat.body(), period_ms, lease_ms]
        weather = _weather(self._db.run("beat", keys, args))
        self._db.dark_ms = weather.dark_ms
        return weather

    def weather(self, period_ms: int, lease_ms: int) -> Weather:
        """The same without a beat: what one would find now."""
        args = [self._db.now_arg, "", "", period_ms, lease_ms]
        reply = self._db.run("beat", [self._db.keys.beats, self._db.keys.weather], args)
        weather = _weather(reply)
        self._db.dark_ms = weather.dark_ms
        return weather

    def leave(self, incarnation: str) -> None:
        """A process ends in good order."""
        self._db.command("HDEL", self._db.keys.beats, incarnation)

    def all(self) -> list[Beat]:
        """Every process that ever beat and was not cleared away."""
        raw = self._db.command("HGETALL", self._db.keys.beats)
        return [_beat(name.decode(), value.decode()) for name, value in raw.items()]

    def alive(self, lease_ms: int) -> list[Beat]:
        now = self._db.server_ms()
        return [beat for beat in self.all() if now - beat.beat_ms <= lease_ms]

    def clear(self, incarnations: Sequence[str]) -> None:
        if incarnations:
            self._db.command("HDEL", self._db.keys.beats, *incarnations)

    def lock(self, owner: str, ttl_ms: int) -> bool:
        """Become the sweeper for a while, or find that somebody else is."""
        key = self._db.keys.sweeper()
        if self._db.command("SET", key, owner, "NX", "PX", ttl_ms):
            return True
        holder: bytes | None = self._db.command("GET", key)
        return holder == owner.encode() and bool(self._db.command("PEXPIRE", key, ttl_ms))

    def unlock(self, owner: str) -> None:
        self._db.command("EVAL", RELEASE, 1, self._db.keys.sweeper(), owner)

    # -- messages that were none ----------------------------------------------------------------------------

    def add_dropped(self, counts: Mapping[str, int]) -> None:
        """Count messages that workers dropped, by what was wrong with them."""
        key = self._db.keys.dropped
        self._db.batch([("HINCRBY", key, what, n) for what, n in counts.items()])

    def dropped(self) -> dict[str, int]:
        """How many messages were dropped so far, by what was wrong with them."""
        raw = self._db.command("HGETALL", self._db.keys.dropped)
        return {what.decode(): int(n) for what, n in raw.items()}

    # -- which lanes have work for a queue, so that a window can be divided ---------------------------------

    def join_queue(self, queue: str, job_id: str, lane: int, weight: float) -> None:
        self._db.command("ZADD", self._db.keys.busy(queue), weight, f"{job_id}:{lane}")

    def leave_queue(self, queue: str, job_id: str, lane: int) -> None:
        self._db.command("ZREM", self._db.keys.busy(queue), f"{job_id}:{lane}")

    def weights(self, queue: str) -> dict[str, float]:
        """ "job:lane" -> weight of every lane with work for the queue."""
        flat = self._db.command("ZRANGE", self._db.keys.busy(queue), 0, -1, "WITHSCORES")
        pairs = (
            flat if flat and isinstance(flat[0], list | tuple) else zip(flat[::2], flat[1::2], strict=True)
        )
        return {member.decode(): float(score) for member, score in pairs}

    def work(self, queue: str) -> dict[str, Work]:
        """ "job:lane" -> what every lane with work for the queue has to do, and how fast it goes."""
        weights = self.weights(queue)
        members = [member.rpartition(":") for member in weights]
        asked: list[tuple[Any, ...]] = []
        for job_id, _, lane in members:
            keys = self._db.job_keys(job_id)
            asked.append(("HMGET", keys.lane(int(lane)), "pending", "processing"))
            asked.append(("HMGET", keys.job, "pending", "processing", "pace"))
        replies = iter(self._db.batch(asked))
        return {
            member: _work(weight, of_lane, of_job)
            for (member, weight), of_lane, of_job in zip(weights.items(), replies, replies, strict=True)
        }


def _work(weight: float, of_lane: Sequence[bytes | None], of_job: Sequence[bytes | None]) -> Work:
    """A job's pace is its lanes', each by what it has left."""
    pending, out = (int(n or 0) for n in of_lane)
    whole = sum(int(n or 0) for n in of_job[:2])
    pace = Pace.from_wire((of_job[2] or b"").decode())
    per_hour = pace.per_hour * (pending + out) / whole if pace and whole else 0.0
    return Work(weight, pending + out, out, per_hour)


def _weather(reply: Sequence[Any]) -> Weather:
    now, dark, grace, server = reply
    return Weather(int(now), int(dark), int(grace), server.decode())


def _beat(incarnation: str, raw: str) -> Beat:
    beat_ms, _, body = raw.partition("|")
    fields: dict[str, Any] = json.loads(body)
    return Beat(
        incarnation=incarnation,
        beat_ms=int(beat_ms),
        host=fields["host"],
        pid=fields["pid"],
        slots=fields["slots"],
        queues=tuple(fields["queues"]),
        pool=fields["pool"],
        version=fields["version"],
        project=fields["project"],
        file_roots=tuple(fields["file_roots"]),
        name=fields.get("name", ""),  # an older worker says neither this
        running=fields["running"],
        started_ms=fields["started_ms"],
        warnings=tuple(fields.get("warnings", ())),  # nor this
        limits=fields.get("limits", {}),  # nor this
        operations=fields.get("operations", {}),  # nor this
    )
