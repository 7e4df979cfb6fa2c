"""What the scripts of a job ought to do, said again in plain Python: whole lists, no cursors, no bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

PENDING, PROCESSING, DEAD = ".rb", "dlw", "FD"
DAY_MS = 86_400_000


@dataclass
class Entry:
    """Of an item that was taken and is not settled."""

    ticket: int = 0  # 0: void
    attempts: int = 0
    crashes: int = 0
    crashed: int = 0
    undelivered: int = 0
    since: int = 0
    dark: int = 0
    due: int = 0
    owner: str = ""
    nonce: str = ""
    begun: bool = False
    limited: int = 0

    def belongs_to(self, owner: str, nonce: str) -> bool:
        return bool(self.owner) and (self.owner, self.nonce) == (owner, nonce)


@dataclass
class ModelItem:
    position: int
    ordinal: int
    lane: int
    shard: int
    byte: str = "."
    entry: Entry | None = None
    text: str | None = None  # of the outcome in force
    kind: str = ""  # of its error

    @property
    def settled(self) -> bool:
        return self.byte in "SFDX"

    def settle(self, byte: str, text: str, kind: str) -> None:
        self.byte, self.text, self.kind, self.entry = byte, text, kind, None

    def give_back(self, due: int) -> None:
        assert self.entry is not None
        self.byte = "b"
        self.entry = replace(self.entry, ticket=0, owner="", nonce="", begun=False, due=due)


@dataclass(frozen=True)
class HealRules:
    lease_ms: int
    lease_max_ms: int
    undelivered_ms: int
    retry_late_ms: int
    max_crashes: int


@dataclass
class Model:
    """One job. Times are ms; `dark` is the outage that the caller knows of."""

    items: list[ModelItem]
    state: str = "pending"
    holds: set[str] = field(default_factory=set)
    cancelled: str | None = None
    deadline: int | None = None
    swept: int = 0
    gen: int = 0
    ticket: int = 0
    fatal_row: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    repeated: int = 0
    finisher: tuple[str, int, int] | None = None
    versions: dict[int, int] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state not in ("pending", "processing")

    @property
    def open(self) -> int:
        return sum(not item.settled for item in self.items)

    @property
    def states(self) -> str:
        return "".join(item.byte for item in self.items)

    def lane(self, lane: int, bytes_: str) -> list[ModelItem]:
        return [item for item in self.items if item.lane == lane and item.byte in bytes_]

    # -- items ----------------------------------------------------------------------------------------------

    def take(self, lane: int, most: int, window: int, now: int, dark: int) -> list[int]:
        if self.ended or self.holds or self.cancelled:
            return []
        room = min(most, window - len(self.lane(lane, PROCESSING)), len(self.lane(lane, PENDING)))
        if room <= 0:
            return []
        self.ticket += 1
        back = self.lane(lane, "b")
        due = [item for item in back if item.entry is not None and item.entry.due <= now]
        due.sort(key=lambda item: (item.entry.due if item.entry else 0, str(item.position)))
        chosen = due[:room]
        chosen += self.lane(lane, "r")[: room - len(chosen)]
        if len(back) - min(room, len(due)) < 4 * window + 1000:
            chosen += self.lane(lane, ".")[: room - len(chosen)]
        for item in chosen:
            item.entry = replace(item.entry or Entry(), ticket=self.ticket, since=now, dark=dark, due=0)
            item.byte = "d"
        if chosen:
            self.state = "processing"
        return [item.position for item in chosen]

    def claim(
        self, position: int, ticket: int, owner: str, nonce: str, begun: bool, now: int, dark: int
    ) -> str:
        item = self.items[position]
        entry = item.entry
        if entry is None:
            return "settled" if item.settled else "superseded"
        if entry.belongs_to(owner, nonce):
            return "ok"
        if entry.ticket != ticket:
            return "superseded"
        if entry.owner:
            return "busy"
        if self.cancelled:
            item.settle("X", "CANCELLED", "")
            return "cancelled"
        if self.holds:
            item.give_back(max(now, entry.due))
            return "paused"
        item.byte = "l"
        item.entry = replace(entry, owner=owner, nonce=nonce, since=now, dark=dark, due=0, begun=begun)
        if begun:
            self._call_begins(item.entry)
        return "ok"

    def _call_begins(self, entry: Entry) -> None:
        entry.begun = True
        entry.attempts += 1
        self.requests += 1

    def mark_begun(self, position: int, owner: str, nonce: str) -> str:
        entry = self.items[position].entry
        if entry is None or not entry.belongs_to(owner, nonce):
            return "stale"
        if entry.begun:
            return "ok"
        if self.cancelled:
            return "cancelled"
        if self.holds:
            return "paused"
        self._call_begins(entry)
        return "ok"

    def settle(self, position: int, owner: str, nonce: str, byte: str, text: str) -> str:
        item = self.items[position]
        if item.entry is None:
            return "settled" if item.settled else "stale"
        if not item.entry.belongs_to(owner, nonce):
            return "stale"
        item.settle(byte, text, "" if byte == "S" else "INVALID_ARGUMENT")
        return "ok"

    def success_ends_fatal_row(self, answers: Iterable[tuple[str, str]]) -> None:
        if ("ok", "S") in answers:
            self.fatal_row = 0

    def release(
        self,
        position: int,
        owner: str,
        nonce: str,
        kind: str,
        delay: int,
        by_message: bool,
        fatal_limit: int,
        now: int,
        dark: int,
    ) -> str:
        item = self.items[position]
        entry = item.entry
        if entry is None or not entry.belongs_to(owner, nonce):
            return "stale"
        if kind == "retry":
            self.retries += 1
        elif kind == "lost":
            self.repeated += entry.begun
        elif entry.begun:
            entry.attempts -= 1
            self.requests -= kind == "unused"
        if kind == "limited":
            self.rate_limited += 1
            entry.limited += 1
        if kind == "fatal":
            self.fatal_row += 1
            if self.fatal_row >= fatal_limit:
                self.holds.add("fatal")
        if self.cancelled:
            item.settle("X", "CANCELLED", "")
            return "cancelled"
        if by_message and not self.holds:
            self.ticket += 1
            item.byte = "w"
            item.entry = replace(
                entry,
                ticket=self.ticket,
                owner="",
                nonce="",
                begun=False,
                since=now,
                dark=dark,
                due=now + delay,
            )
            return "retry"
        item.give_back(now + delay)
        return "back"

    def heal(
        self, alive: set[str], now: int, dark: int, grace_until: int, rules: HealRules
    ) -> tuple[int, int, int, int]:
        """Items given back, poisoned, cancelled; calls lost."""
        back = poisoned = cancelled = lost = 0
        for item in self.items:
            entry = item.entry
            if entry is None or item.byte == "b":
                continue
            lit = now - (dark - entry.dark)  # outages while it was out age nothing
            age = lit - entry.since
            due = now
            if item.byte == "l":
                silent = entry.owner not in alive and age > rules.lease_ms and now >= grace_until
                if not silent and age <= rules.lease_max_ms:
                    continue
                if entry.begun:
                    lost += 1
                    recent = now - entry.crashed <= DAY_MS
                    entry.crashes, entry.crashed = (entry.crashes if recent else 0) + 1, now
                    if entry.crashes >= rules.max_crashes:
                        item.settle("D", "POISON", "POISON")
                        poisoned += 1
                        continue
            elif item.byte == "w":
                if lit <= entry.due + rules.retry_late_ms:
                    continue
            else:
                if age <= rules.undelivered_ms * 2 ** min(entry.undelivered, 12):
                    continue
                entry.undelivered += 1
            if self.cancelled:
                item.settle("X", "CANCELLED", "")
                cancelled += 1
            else:
                item.give_back(due)
                back += 1
        self.repeated += lost
        return back, poisoned, cancelled, lost

    # -- the job --------------------------------------------------------------------------------------------

    def hold(self, cause: str) -> bool:
        new = cause not in self.holds
        self.holds.add(cause)
        return new

    def unhold(self, cause: str | None) -> bool:
        lifted = set(self.holds) if cause is None else self.holds & {cause}
        self.holds -= lifted
        if lifted:
            self.fatal_row = 0
        return bool(lifted)

    def cancel(self, cause: str, now: int) -> bool | None:
        """None: refused, for the job has ended."""
        if self.cancelled in (cause, "cancel"):
            return False
        if cause == "deadline" and (self.deadline is None or self.deadline > now):
            return False
        if self.ended:
            return None
        self.cancelled, self.swept, self.holds = cause, 0, set()
        return True

    def sweep(self, shards: int, most: int) -> bool:
        if self.cancelled is None:
            return False
        stop = min(shards, self.swept + most)
        for item in self.items:
            if self.swept <= item.shard < stop and item.byte in PENDING:
                item.settle("X", "CANCELLED", "")
        self.swept = stop
        pending = any(item.byte in PENDING for item in self.items)
        if stop >= shards and pending:
            self.swept = 0
        return pending

    def redrive(self, positions: Sequence[int], first: bool) -> int:
        chosen = [self.items[at] for at in positions if self.items[at].byte in DEAD]
        for item in chosen:
            item.byte, item.text, item.kind = "r", None, ""
        if not chosen:
            return 0
        for shard in {item.shard for item in chosen}:
            self.versions[shard] = self.versions.get(shard, 0) + 1
        if first or self.finisher is not None:
            self.gen += 1
        self.state, self.fatal_row, self.finisher = "processing", 0, None
        self.cancelled = self.deadline = None
        return len(chosen)

    def complete(self, shard: int) -> bool:
        return all(item.settled for item in self.items if item.shard == shard)

    def finish_begin(self, owner: str, now: int, stale_ms: int) -> int | None:
        if self.ended or self.open:
            return None
        if self.finisher is not None:
            holder, gen, since = self.finisher
            if holder != owner and gen == self.gen and now - since <= stale_ms:
                return None
        self.finisher = owner, self.gen, now
        return self.gen

    def finish_commit(self, owner: str, gen: int) -> str | None:
        if gen != self.gen or self.finisher is None or self.finisher[:2] != (owner, gen) or self.open:
            return None
        if not self.ended:
            self.state = "cancelled" if self.cancelled == "cancel" else "completed"
            self.holds = set()
        return self.state
