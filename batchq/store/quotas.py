"""Quotas as the fleet shares them: holds, paced permits, calls in flight. Redis's clock decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchq.store.database import Database


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """None: no limit of this kind."""

    requests_per_minute: int | None = None
    concurrency: int | None = None

    @property
    def unlimited(self) -> bool:
        return self.requests_per_minute is None and self.concurrency is None


@dataclass(frozen=True, slots=True)
class Drawn:
    """`slots_ms` are the times, in ms from now, at which one call each may go; none: ask again after `wait_ms`."""

    slots_ms: tuple[int, ...]
    wait_ms: int
    binding: str  # what it waits for: hold, requests_per_minute, concurrency, or ""


class QuotaStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    def draw(self, quota: str, owner: str, wanted: int, limits: QuotaLimits, ahead_ms: int) -> Drawn:
        """Permits for up to `wanted` calls; concurrency slots are taken with them (free_slots gives them back)."""
        keys = [self._db.keys.quota(quota), self._db.keys.quota_slots(quota)]
        rpm, concurrency = limits.requests_per_minute, limits.concurrency
        args = [
            owner,
            wanted,
            "" if rpm is None else rpm,
            "" if concurrency is None else concurrency,
            ahead_ms,
        ]
        wait, binding, *slots = self._db.run("draw", keys, [self._db.now_arg, *args])
        return Drawn(tuple(int(slot) for slot in slots), int(wait), binding.decode())

    def hold(self, quota: str, for_ms: int) -> int:
        """Hold a quota for the whole fleet. Returns how long it is held from now, in ms."""
        return int(self._db.run("hold_quota", [self._db.keys.quota(quota)], [self._db.now_arg, for_ms]))

    def held_ms(self, quota: str) -> int:
        """How long the quota is still held; 0: it is not."""
        until = self._db.command("HGET", self._db.keys.quota(quota), "hold")
        return max(0, int(until) - self._db.server_ms()) if until else 0

    def free(self, quota: str, owner: str, n: int = 1) -> None:
        self._db.run("free_slots", [self._db.keys.quota_slots(quota)], [owner, n])

    def clear_owners(self, quota: str, alive: Sequence[str]) -> None:
        """Give back the slots of processes that died."""
        key = self._db.keys.quota_slots(quota)
        dead = [owner for owner in self._db.command("HKEYS", key) if owner.decode() not in set(alive)]
        if dead:
            self._db.command("HDEL", key, *dead)

    def drop(self, quota: str) -> None:
        self._db.command("UNLINK", self._db.keys.quota(quota), self._db.keys.quota_slots(quota))
