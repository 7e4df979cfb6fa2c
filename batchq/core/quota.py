"""A quota as the fleet shares it: when a call may go. The model that draw.lua equals, to the last permit.

Pure and in whole numbers: time is given, in ms; slots are computed in µs. A quota limits requests and input
tokens in any rolling minute, requests a day (Pacific), and calls in flight; all that limit a call are drawn
together or not at all. What was drawn is counted in buckets of 0.1 s by the slot of its permit. A permit is used
at most VALID_MS after its slot and the call arrives at most TRAVEL_MS later, so a window counts for that much
longer than a minute: that, and the width of a bucket, are all that stands between "never over" and 100 %.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

BUCKET_MS = 100
MINUTE_MS = 60_000
VALID_MS = 500  # after its slot a permit is void
TRAVEL_MS = 250  # from leaving the gate to being counted by the provider
SPAN_MS = MINUTE_MS + VALID_MS + TRAVEL_MS  # between two slots whose calls cannot share a minute
RING = 700  # buckets that can hold anything: a span's, and those of slots ahead
MINUTE_US = 60_000_000
PACE = (20, 21)  # slots follow each other a little faster than the limit, so that what was lost is caught up
CLOCK_SLACK_MS = 250  # a clock further ahead than this of what the caller expects has been set
POLL_MS = 100  # to the next look at what has no time of its own
RESERVED_MS = 2_000  # for whom a large item is refused; asking again renews it
LARGE_SHARE = 20  # an item of more than 1/20 of a minute's tokens is large
FIRST_RPM = 1_200  # of a quota nobody knows; then e-fold every 10 s until it refuses,
GROWTH = 6  # that is, 6 times what the last minute had
RECOVERY_SHARE = 50  # after refusals the pace grows by 1/50 of the former a second
BREAKER_ROW = 3  # decreases in a row that open the breaker
LONGEST_CAPACITY_HOLD_MS = 60_000
NO_DAY_MS = 1 << 52
PACIFIC = ZoneInfo("America/Los_Angeles")  # daily quotas reset at its midnight

LEARNT = ("requests_per_minute", "tokens_per_minute", "requests_per_day")  # what refusals tell
DIMENSIONS = (*LEARNT, "concurrency")
BINDINGS = {  # what a draw may wait for
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "input tokens a minute",
    "requests_per_day": "requests a day",
    "concurrency": "calls in flight",
    "hold": "held after a refusal",
    "day": "the day's requests are used up",
    "capacity": "the provider has no capacity",
    "paused": "paused by a person",
    "too_large": "larger than a minute's tokens",
}

Days = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """None: no limit of this kind. `learns`: a requests limit that is None is one nobody knows yet."""

    requests_per_minute: int | None = None
    concurrency: int | None = None
    tokens_per_minute: int | None = None  # input tokens
    requests_per_day: int | None = None
    learns: bool = False

    @property
    def unlimited(self) -> bool:
        return self == QuotaLimits()


@dataclass(frozen=True, slots=True)
class Correction:
    """What became of a permit: `bucket` is that of its draw; negative amounts come back."""

    bucket: int
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A draw: who asks for what. `costs` are the input tokens of each wanted permit, in order of their turn.

    `expected_ms`: what each quota's clock should show now: what it showed at this caller's last draw, and the time
    since by the caller's monotonic clock; empty at its first. `day_ends` are the Pacific midnights around now as the caller's clock sees them: a clock wrong by hours does no harm.
    """

    owner: str
    costs: tuple[int, ...]
    ahead_ms: int  # how far ahead of now a slot may lie
    day_ends: Days
    expected_ms: tuple[int, ...] = ()
    freed: int = 0  # calls in flight that ended
    succeeded: int = 0  # calls answered since the last draw: capacity is there again


@dataclass(frozen=True, slots=True)
class Granted:
    """`slots_ms` are times from now, in order; fewer than asked: ask again after `wait_ms`.

    `clocks_ms` is each quota's own time, from which the buckets of corrections count.
    """

    slots_ms: tuple[int, ...]
    wait_ms: int
    binding: str  # what it waits for, see BINDINGS; "" for nothing
    bound: int  # which of the quotas binds
    clocks_ms: tuple[int, ...]
    limit: int = 0  # of the tokens, with "too_large"
    rpm: int = 0  # the pace in force, of the slowest; 0: none


@dataclass(slots=True)
class _Ring:
    """What was drawn, by bucket; `tail` is the oldest that still counts."""

    tail: int = 0
    requests: int = 0
    tokens: int = 0
    of_requests: dict[int, int] = field(default_factory=dict)
    of_tokens: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Quota:
    """One quota's account. `draw` and `refuse` change it; nothing reads a clock."""

    conf: QuotaLimits = field(default_factory=QuotaLimits)  # of the worker started last
    conf_at_ms: int = -1  # when that was
    set: QuotaLimits = field(default_factory=QuotaLimits)  # by a person, over all others; 0: no limit
    learnt: QuotaLimits = field(default_factory=QuotaLimits)  # from refusals
    hold_ms: int = 0  # nothing goes before, by the store's clock
    why: str = ""  # of the hold
    paused: bool = False
    skew_ms: int = 0  # between the store's clock and this quota's own, which never steps
    last_ms: int = 0  # its own clock at the last draw
    born_ms: int = 0
    next_us: int = 0  # earliest next slot
    ring: _Ring = field(default_factory=_Ring)
    day_end_ms: int = 0
    of_day: int = 0  # requests since the last midnight
    flying: dict[str, int] = field(default_factory=dict)  # owner -> calls in flight
    reserved_for: str = ""
    reserved_until_ms: int = 0
    epoch: str = ""  # the server that kept this account
    cap: int = 0  # requests a minute after refusals; 0: none
    cap_top: int = 0  # before the first of them
    cap_at_ms: int = 0
    decreased_ms: int = 0
    row: int = 0  # decreases for want of capacity since the last success

    @property
    def limits(self) -> QuotaLimits:
        return in_force(self.set, self.conf, self.learnt)

    def configure(self, conf: QuotaLimits, at_ms: int) -> None:
        """The settings of a worker that began at `at_ms`. Other settings, other beliefs: what was learnt goes."""
        if at_ms < self.conf_at_ms:
            return
        if any(getattr(conf, name) != getattr(self.conf, name) for name in DIMENSIONS):
            self.learnt = QuotaLimits()
        self.conf, self.conf_at_ms = conf, at_ms

    # -- the clock, and what changes with it ----------------------------------------------------------------

    def begin(self, now_ms: int, asked: Asked, epoch: str, expected_ms: int | None) -> None:
        """Bring the account to now: its clock, a fail-over, the day, the recovery after refusals."""
        clock = now_ms + self.skew_ms
        if not self.epoch:
            self.born_ms, self.ring.tail = clock, (clock - SPAN_MS) // BUCKET_MS
        elif clock < self.last_ms:
            self.skew_ms += self.last_ms - clock  # the store's clock stepped back: ours stands still
        elif expected_ms is not None and clock > expected_ms + CLOCK_SLACK_MS:
            self.skew_ms -= clock - max(self.last_ms, expected_ms)  # forward: the caller knows better
        clock = self.last_ms = now_ms + self.skew_ms
        self._expire((clock - SPAN_MS) // BUCKET_MS)
        if self.epoch and self.epoch != epoch:
            rpm, tpm = self.limits.requests_per_minute or 0, self.limits.tokens_per_minute or 0
            self._add(
                clock // BUCKET_MS, (rpm + 59) // 60, (tpm + 59) // 60
            )  # what a fail-over may have lost
        self.epoch = epoch
        if now_ms >= self.day_end_ms or now_ms < self.day_end_ms - 2 * 86_400_000:
            self.day_end_ms = next((end for end in asked.day_ends if end > now_ms), NO_DAY_MS)
            self.of_day = 0
        if asked.succeeded:
            if self.row >= BREAKER_ROW:
                self.cap = max(self.cap, self.cap_top // 2)  # the probe came through: not from the bottom
            self.row = 0
        self._recover()

    def _recover(self) -> None:
        steps = (self.last_ms - self.cap_at_ms) // 1000
        if not self.cap or steps <= 0:
            return
        self.cap += steps * max(1, self.cap_top // RECOVERY_SHARE)
        self.cap_at_ms += steps * 1000
        if self.cap >= (self.limits.requests_per_minute or 2 * self.cap_top):
            self.cap = self.cap_top = 0

    def correct(self, corrections: Sequence[Correction], day_began_ms: int) -> None:
        """Settle the difference between what was drawn and what was used; never below nothing."""
        ring = self.ring
        for one in corrections:
            if one.bucket < ring.tail:
                continue  # it counts no more
            requests = max(one.requests, -ring.of_requests.get(one.bucket, 0))
            tokens = max(one.tokens, -ring.of_tokens.get(one.bucket, 0))
            self._add(one.bucket, requests, tokens)
            if one.bucket * BUCKET_MS - self.skew_ms >= day_began_ms:
                self.of_day = max(0, self.of_day + requests)

    def _add(self, bucket: int, requests: int, tokens: int) -> None:
        ring = self.ring
        ring.of_requests[bucket] = ring.of_requests.get(bucket, 0) + requests
        ring.of_tokens[bucket] = ring.of_tokens.get(bucket, 0) + tokens
        ring.requests += requests
        ring.tokens += tokens

    def _expire(self, oldest: int) -> None:
        ring = self.ring
        for bucket in range(ring.tail, min(oldest, ring.tail + RING)):
            ring.requests -= ring.of_requests.pop(bucket, 0)
            ring.tokens -= ring.of_tokens.pop(bucket, 0)
        ring.tail = max(ring.tail, oldest)

    # -- whether, and when ----------------------------------------------------------------------------------

    def blocked(self, now_ms: int, owner: str) -> tuple[int, str, int]:
        """(wait, binding, room): how long nothing goes, for what, and else how many may go at once."""
        room = 1 << 30
        if self.paused:
            return 1_000, "paused", 0
        if self.hold_ms > now_ms:
            return self.hold_ms - now_ms, self.why or "hold", 0
        limits = self.limits
        if limits.requests_per_day is not None:
            room = limits.requests_per_day - self.of_day
            if room <= 0:
                return self.day_end_ms - now_ms, "requests_per_day", 0
        if self.reserved_for not in ("", owner) and self.reserved_until_ms > self.last_ms:
            return POLL_MS, "tokens_per_minute", 0
        if limits.concurrency is not None:
            room = min(room, limits.concurrency - sum(self.flying.values()))
            if room <= 0:
                return POLL_MS, "concurrency", 0
        if self.row >= BREAKER_ROW:
            room = 1  # one probe
        return 0, "", room

    def rpm(self) -> int:
        """The pace in force, requests a minute; 0: none."""
        pace = self.limits.requests_per_minute or 0
        if not pace and self.conf.learns:
            pace = FIRST_RPM + GROWTH * self.ring.requests
        if self.cap and (not pace or self.cap < pace):
            pace = self.cap
        return pace

    def earliest(self, tokens: int, ahead_us: int) -> tuple[int, str, int]:
        """The first slot from `ahead_us` on: µs ahead, what bound it, and the oldest bucket that counts there."""
        ring, limits = self.ring, self.limits
        at_us = self.last_ms * 1000 + ahead_us
        binding = ""
        if self.next_us > at_us:
            at_us, binding = self.next_us, "requests_per_minute"
        tail, requests, of_tokens = ring.tail, ring.requests, ring.tokens
        while True:
            oldest = (at_us // 1000 - SPAN_MS) // BUCKET_MS
            for bucket in range(tail, min(oldest, tail + RING)):
                requests -= ring.of_requests.get(bucket, 0)
                of_tokens -= ring.of_tokens.get(bucket, 0)
            tail = max(tail, oldest)
            if limits.requests_per_minute is not None and requests + 1 > limits.requests_per_minute:
                binding, amounts = "requests_per_minute", ring.of_requests
            elif limits.tokens_per_minute is not None and of_tokens + tokens > limits.tokens_per_minute:
                binding, amounts = "tokens_per_minute", ring.of_tokens
            else:
                return at_us - self.last_ms * 1000, binding, tail
            first = tail
            while not amounts.get(first, 0):
                first += 1
            at_us = ((first + 1) * BUCKET_MS + SPAN_MS) * 1000

    def take(self, tokens: int, ahead_us: int, tail: int) -> None:
        """Take what `earliest` allowed."""
        self._expire(tail)
        at_us = self.last_ms * 1000 + ahead_us
        self._add(at_us // 1000 // BUCKET_MS, 1, tokens)
        self.of_day += 1
        self.next_us = at_us + self.gap_us(tokens)

    def gap_us(self, tokens: int) -> int:
        """To the next slot after a call of so many tokens: paced, so that a minute's worth never goes at once."""
        fast, slow = PACE
        if self.last_ms - self.born_ms < SPAN_MS:
            fast = slow  # the first minute has nothing to catch up
        pace, limits = self.rpm(), self.limits
        gap = 0
        if pace and pace == limits.requests_per_minute:
            gap = MINUTE_US * fast // (pace * slow)
        elif pace:
            gap = MINUTE_US // pace
        if limits.tokens_per_minute:
            gap = max(gap, tokens * MINUTE_US // limits.tokens_per_minute * fast // slow)
        return gap

    # -- refusals -------------------------------------------------------------------------------------------

    def refuse(self, now_ms: int, kind: str, for_ms: int, learnt: QuotaLimits) -> int:
        """The provider said no: hold everything, learn its limit, slow down. Returns the hold's length from now.

        `kind`: "day", "hold" (a minute's limit) or "capacity" (it named no quota). Holds never get shorter.
        """
        own = self.limits
        known = {name: value for name in LEARNT if (value := getattr(learnt, name)) is not None}
        self.learnt = replace(self.learnt, **known)
        clock = max(self.last_ms, now_ms + self.skew_ms)
        if kind != "day" and self.limits == own and clock - self.decreased_ms >= 1000:
            self._slow_down(clock, kind)
        if kind == "capacity":
            for_ms = max(for_ms, min(LONGEST_CAPACITY_HOLD_MS, 500 << min(self.row, 10)))
        if self.cap:
            self.cap_at_ms = max(self.cap_at_ms, clock + for_ms)  # it recovers once it is open again
        if now_ms + for_ms > self.hold_ms:
            self.hold_ms, self.why = now_ms + for_ms, kind
        return self.hold_ms - now_ms

    def _slow_down(self, clock: int, kind: str) -> None:
        """Not when a limit has just been learnt: then that, and nothing else, was wrong."""
        current = self.cap or self.limits.requests_per_minute or max(FIRST_RPM, self.ring.requests)
        self.cap_top = self.cap_top or current
        self.cap = max(6, self.cap_top // 100, current * (7 if kind == "capacity" else 9) // 10)
        self.decreased_ms = clock
        if kind == "capacity":
            self.row += 1


def in_force(set: QuotaLimits, conf: QuotaLimits, learnt: QuotaLimits) -> QuotaLimits:
    """Dimension by dimension: what a person set (0: no limit), else the lower of configured and learnt."""

    def of(name: str) -> int | None:
        chosen: int | None = getattr(set, name)
        if chosen is not None:
            return chosen or None
        known = [value for one in (conf, learnt) if (value := getattr(one, name)) is not None]
        return min(known, default=None)

    return QuotaLimits(**{name: of(name) for name in DIMENSIONS}, learns=conf.learns)


def draw(
    quotas: Sequence[Quota],
    asked: Asked,
    *,
    now_ms: int,
    epoch: str,
    corrections: Sequence[Sequence[Correction]] = (),
) -> Granted:
    """Draw permits that every one of `quotas` allows, each a slot in time; charged to all of them or to none."""
    began_ms = max((end for end in asked.day_ends if end <= now_ms), default=0)
    for index, quota in enumerate(quotas):
        quota.begin(now_ms, asked, epoch, asked.expected_ms[index] if asked.expected_ms else None)
        quota.correct(corrections[index] if corrections else (), began_ms)
        if asked.freed:
            quota.flying[asked.owner] = max(0, quota.flying.get(asked.owner, 0) - asked.freed)
    clocks = tuple(quota.last_ms for quota in quotas)
    rpm = min((pace for quota in quotas if (pace := quota.rpm())), default=0)
    wait, binding, bound, room = 0, "", 0, len(asked.costs)
    for index, quota in enumerate(quotas):
        longer, why, most = quota.blocked(now_ms, asked.owner)
        room = min(room, most)
        if longer > wait:
            wait, binding, bound = longer, why, index
    if wait:
        return Granted((), wait, binding, bound, clocks, rpm=rpm)
    slots: list[int] = []
    for tokens in asked.costs[:room]:
        large = _too_large(quotas, tokens)
        if large is not None:
            if not slots:
                limit = quotas[large].limits.tokens_per_minute or 0
                return Granted((), 0, "too_large", large, clocks, limit=limit, rpm=rpm)
            break
        ahead_us, why, by, tails = _common_slot(quotas, tokens)
        ahead_ms = ahead_us // 1000
        if ahead_ms > asked.ahead_ms:
            wait, binding, bound = ahead_ms - asked.ahead_ms, why, by
            if why == "tokens_per_minute":
                _reserve(quotas[by], asked.owner, tokens)
            break
        for quota, tail in zip(quotas, tails, strict=True):
            quota.take(tokens, ahead_us, tail)
            if quota.reserved_for == asked.owner:
                quota.reserved_for = ""
        slots.append(ahead_ms)
    if slots:
        for quota in quotas:
            quota.flying[asked.owner] = quota.flying.get(asked.owner, 0) + len(slots)
    return Granted(tuple(slots), wait, binding, bound, clocks, rpm=rpm)


def _too_large(quotas: Sequence[Quota], tokens: int) -> int | None:
    for index, quota in enumerate(quotas):
        limit = quota.limits.tokens_per_minute
        if limit is not None and tokens > limit:
            return index
    return None


def _common_slot(quotas: Sequence[Quota], tokens: int) -> tuple[int, str, int, list[int]]:
    """The first slot that all allow: each may push it further, until none does."""
    ahead_us, binding, bound = 0, "", 0
    while True:
        before, tails = ahead_us, []
        for index, quota in enumerate(quotas):
            at_us, why, tail = quota.earliest(tokens, ahead_us)
            tails.append(tail)
            if at_us > ahead_us:
                ahead_us, binding, bound = at_us, why, index
        if ahead_us == before:
            return ahead_us, binding, bound, tails


def _reserve(quota: Quota, owner: str, tokens: int) -> None:
    """A large item is not passed over by small ones: what comes free is kept for it while it asks."""
    if tokens * LARGE_SHARE > (quota.limits.tokens_per_minute or 0):
        quota.reserved_for, quota.reserved_until_ms = owner, quota.last_ms + RESERVED_MS


def pacific_days(now_ms: int) -> Days:
    """The Pacific midnights before now, after it, and the one after that, in Unix ms."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(PACIFIC).date()
    first, second, third = (
        int(datetime.combine(today + timedelta(days=n), datetime.min.time(), PACIFIC).timestamp() * 1000)
        for n in range(3)
    )
    return first, second, third


def local_ms() -> int:
    """This machine's clock, Unix ms: near enough to tell one day from the next."""
    return int(time.time() * 1000)


def until_pacific_midnight_ms(now_ms: int) -> int:
    return max(0, pacific_days(now_ms)[1] - now_ms)
