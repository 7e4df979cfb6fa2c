"""Quotas as the fleet shares them. What is counted and why says core/quota.py; Redis's clock decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from batchq.core import pacific, ring
from batchq.core.limits import LEARNT, QuotaLimits, in_force
from batchq.core.permits import Asked, Granted
from batchq.core.quota import Correction
from batchq.core.slowdown import BREAKER_ROW
from batchq.store.database import Arg, Database

__all__ = ["QuotaLimits", "QuotaStore", "QuotaView"]

FIELDS = {
    "requests_per_minute": "rpm",
    "tokens_per_minute": "tpm",
    "requests_per_day": "rpd",
    "concurrency": "conc",
}
_HEADER = [
    *(f"{source}_{short}" for source in ("set", "conf", "learnt") for short in FIELDS.values()),
    *("conf_at", "learns", "paused", "hold", "why", "cap", "row", "skew", "day", "of_day"),
]
KEEP_MS = 40 * 86_400_000  # after its last use what was learnt is forgotten
USUAL_WAIT_MS = 5_000  # for room in a window that is used to the full
_BREAKER = ("row", "failing", "probe_for")


@dataclass(frozen=True, slots=True)
class QuotaView:
    """A quota as it stands. What is used is 0 where it was not asked for."""

    name: str
    limits: QuotaLimits  # in force
    set: QuotaLimits  # by a person; 0: no limit
    configured: QuotaLimits
    learnt: QuotaLimits  # from refusals
    paused: bool
    held_ms: int  # from now; 0: not held
    why: str  # nothing goes, see core.permits.BINDINGS; "" when it is open
    slowed_rpm: int  # after refusals; 0: it is not
    drawn: bool  # by a worker, whose settings are `configured`
    used_requests: int = 0  # of the last minute
    used_tokens: int | None = 0  # None: they are not limited, so nobody counts them all
    used_today: int = 0
    in_flight: int = 0
    workers: int | None = None  # live ones whose calls count against it; None: not asked for, or a job's
    room_ms: int = 0  # until the minute's window has room again, where that is longer than usual


class QuotaStore:
    def __init__(self, database: Database) -> None:
        self._db = database
        self.began_ms: int | None = None  # by the store's clock; the settings of who began last hold
        self.epoch = ""  # tests say which server this is
        self._days: pacific.Days = (0, 0, 0)

    # -- drawing --------------------------------------------------------------------------------------------

    def day_ends(self) -> pacific.Days:
        """The Pacific midnights around now; computed anew when one has passed."""
        now = pacific.local_ms() if self._db.now_ms is None else self._db.now_ms
        if not self._days[0] <= now < self._days[1]:
            self._days = pacific.pacific_days(now)
        return self._days

    def draw(
        self,
        names: Sequence[str],
        confs: Sequence[QuotaLimits],
        asked: Asked,
        corrections: Sequence[Sequence[Correction]] = (),
    ) -> Granted:
        """Permits that every named quota allows. `confs` are their limits in this process's settings."""
        if self.began_ms is None:
            self.began_ms = self._db.server_ms()
        args: list[Arg] = [
            self._db.now_arg,
            self.epoch,
            asked.owner,
            asked.ahead_ms,
            ",".join(map(str, asked.day_ends)),
            ",".join(map(str, asked.costs)),
            asked.freed,
            asked.succeeded,
            ",".join(map(str, asked.sizes)),
            asked.gate,
        ]
        for index, conf in enumerate(confs):
            mine = corrections[index] if corrections else ()
            came_back = ",".join(f"{one.bucket}:{one.requests}:{one.tokens}" for one in mine)
            expected = asked.expected_ms[index] if asked.expected_ms else ""
            args += (_wire(conf), self.began_ms, came_back, expected)
        keys = [key for name in names for key in self._keys(name)]
        wait, binding, bound, limit, rpm, clocks, *slots = self._db.run("draw", keys, args)
        return Granted(
            slots_ms=tuple(int(slot) for slot in slots),
            wait_ms=int(wait),
            binding=binding.decode(),
            bound=int(bound),
            clocks_ms=tuple(int(clock) for clock in clocks.split(b",")),
            limit=int(limit),
            rpm=int(rpm),
        )

    def refuse(self, name: str, kind: str, for_ms: int, learnt: QuotaLimits) -> int:
        """A call was refused for rate. Returns how long the quota is held from now, in ms."""
        args: list[Arg] = [self._db.now_arg, kind, for_ms]
        args += ["" if (value := getattr(learnt, field)) is None else value for field in LEARNT]
        return int(self._db.run("refuse", [self._db.keys.quota(name)], args))

    def fail(self, name: str, succeeded: int, row: int) -> tuple[int, bool]:
        """A call got no answer, after `succeeded` others that did. See core.quota.Quota.fail for what it returns."""
        args: list[Arg] = [self._db.now_arg, succeeded, row]
        held_ms, charged = self._db.run("fail", [self._db.keys.quota(name)], args)
        return int(held_ms), bool(charged)

    def clear_owners(self, name: str, alive: Sequence[str]) -> None:
        """Give back the calls in flight of processes that died."""
        key, living = self._db.keys.quota_slots(name), set(alive)
        dead = [owner for owner in self._db.command("HKEYS", key) if owner.decode() not in living]
        if dead:
            self._db.command("HDEL", key, *dead)

    def share_ratios(self, name: str, mine: Sequence[float], most: int) -> list[float]:
        """Add what this process has seen of tokens for an estimated one; the fleet's latest, oldest first."""
        key = self._db.keys.ratios(name)
        seen = [f"{one:.4f}" for one in mine]
        writes = (
            [("LPUSH", key, *seen), ("LTRIM", key, 0, most - 1), ("PEXPIRE", key, KEEP_MS)] if seen else []
        )
        *_, latest = self._db.batch([*writes, ("LRANGE", key, 0, most - 1)])
        return [float(one) for one in reversed(latest)]

    # -- which there are, and how they stand ----------------------------------------------------------------

    def register(self, names: Sequence[str]) -> None:
        self._db.command("SADD", self._db.keys.quotas, *names)

    def names(self) -> list[str]:
        return sorted(name.decode() for name in self._db.command("SMEMBERS", self._db.keys.quotas))

    def drop(self, name: str) -> None:
        self._db.batch([("UNLINK", *self._keys(name)), ("SREM", self._db.keys.quotas, name)])

    def view(self, name: str, *, live: bool = False) -> QuotaView:
        """`live` counts what is used too, which reads the whole account."""
        state, slots = self._keys(name)
        if not live:
            values = self._db.command("HMGET", state, *_HEADER)
            found = {field: value for field, value in zip(_HEADER, values, strict=True) if value is not None}
            return _view(name, _decoded(found), self._db.server_ms())
        raw, flying = self._db.batch([("HGETALL", state), ("HVALS", slots)])
        known = {field.decode(): value for field, value in raw.items()}
        account, now_ms = _decoded(known), self._db.server_ms()
        view = _view(name, account, now_ms)
        counts_tokens = view.limits.tokens_per_minute is not None
        return replace(
            view,
            used_requests=_used(account, "r", now_ms),
            used_tokens=_used(account, "t", now_ms) if counts_tokens else None,
            in_flight=sum(int(one) for one in flying),
            room_ms=_room_ms(account, view.limits, now_ms),
        )

    # -- by hand --------------------------------------------------------------------------------------------

    def set(self, name: str, limits: QuotaLimits) -> None:
        """These hold over what workers have configured, until `reset`. None: as it is; 0: no limit."""
        given = {
            short: value for field, short in FIELDS.items() if (value := getattr(limits, field)) is not None
        }
        if given:
            flat = [part for short, value in given.items() for part in (f"set_{short}", value)]
            self._keep(name, ("HSET", self._db.keys.quota(name), *flat))

    def reset(self, name: str) -> None:
        """What was set, what was learnt, and the slowness after refusals go; the settings hold again."""
        fields = [f"{source}_{short}" for source in ("set", "learnt") for short in FIELDS.values()]
        self._db.command("HDEL", self._db.keys.quota(name), *fields, "cap", "cap_top", *_BREAKER)

    def pause(self, name: str) -> None:
        self._keep(name, ("HSET", self._db.keys.quota(name), "paused", "1"))

    def resume(self, name: str) -> None:
        """Lift the pause, and whatever else holds the quota."""
        self._db.command("HDEL", self._db.keys.quota(name), "paused", "hold", "why", *_BREAKER)

    def _keep(self, name: str, write: tuple[object, ...]) -> None:
        """What a person says does not expire."""
        self._db.batch([write, ("PERSIST", self._db.keys.quota(name)), ("SADD", self._db.keys.quotas, name)])

    def _keys(self, name: str) -> tuple[str, str]:
        return self._db.keys.quota(name), self._db.keys.quota_slots(name)


def _wire(limits: QuotaLimits) -> str:
    parts = ["-" if (value := getattr(limits, field)) is None else str(value) for field in FIELDS]
    return ",".join([*parts, "1" if limits.learns else "0"])


def _decoded(raw: Mapping[str, bytes]) -> dict[str, str]:
    return {field: value.decode() for field, value in raw.items()}


def _limits(raw: Mapping[str, str], source: str) -> QuotaLimits:
    def of(short: str) -> int | None:
        text = raw.get(f"{source}_{short}")
        return None if text is None else int(text)

    return QuotaLimits(of("rpm"), of("conc"), of("tpm"), of("rpd"))


def _used(account: Mapping[str, str], letter: str, now_ms: int) -> int:
    now = now_ms + int(account.get("skew") or 0)
    buckets = range((now - ring.MINUTE_MS) // ring.BUCKET_MS, now // ring.BUCKET_MS + 1)
    return sum(int(account.get(f"{letter}{bucket}", 0)) for bucket in buckets)


def _room_ms(account: Mapping[str, str], limits: QuotaLimits, now_ms: int) -> int:
    """A full window is usual, and has room within two slots; one over a limit that was lowered has none for long."""
    now = now_ms + int(account.get("skew") or 0)

    def wait(letter: str, limit: int | None) -> int:
        if limit is None:
            return 0
        amounts = {
            int(field[1:]): int(n)
            for field, n in account.items()
            if field[0] == letter and field[1:].isdigit()
        }
        return ring.room_in_ms(amounts, limit, now)

    rpm = limits.requests_per_minute
    longest = max(wait("r", rpm), wait("t", limits.tokens_per_minute))
    usual = max(USUAL_WAIT_MS, 2 * ring.MINUTE_MS // rpm if rpm else 0)
    return longest if longest > usual else 0


def _view(name: str, raw: Mapping[str, str], now_ms: int) -> QuotaView:
    """Without what was used lately, which the fields of the header do not tell."""

    def number(field: str) -> int:
        return int(raw.get(field) or 0)

    conf = replace(_limits(raw, "conf"), learns=raw.get("learns") == "1")
    by_hand, learnt = _limits(raw, "set"), _limits(raw, "learnt")
    limits = in_force(by_hand, conf, learnt)
    paused, held_ms = bool(raw.get("paused")), max(0, number("hold") - now_ms)
    why = raw.get("why") or "hold" if held_ms else ("probe" if number("row") >= BREAKER_ROW else "")
    used_today = number("of_day") if now_ms < number("day") else 0
    if limits.requests_per_day is not None and used_today >= limits.requests_per_day:
        held_ms, why = max(held_ms, number("day") - now_ms), "requests_per_day"
    return QuotaView(
        name=name,
        limits=limits,
        set=by_hand,
        configured=conf,
        learnt=learnt,
        paused=paused,
        held_ms=held_ms,
        why="paused" if paused else why,
        slowed_rpm=number("cap"),
        drawn="conf_at" in raw,
        used_today=used_today,
    )
