"""One quota as the fleet shares it: when a call may go. What is drawn of several at once says permits.py.

Pure and in whole numbers: time is given, in ms; slots are computed in µs. A quota limits requests and input
tokens in any rolling minute, requests a day (Pacific), and calls in flight; all that limit a call are drawn
together or not at all. quota.lua and the scripts around it equal this to the last permit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from batchq.core.limits import DIMENSIONS, LEARNT, QuotaLimits, in_force
from batchq.core.pacific import DAY_MS, NO_DAY_MS, Days
from batchq.core.ring import BUCKET_MS, RING, SPAN_MS, Ring, oldest_at
from batchq.core.slowdown import Slowdown

MINUTE_US = 60_000_000
NO_LIMIT = 1 << 30
PACE = (20, 21)  # slots follow each other a little faster than the limit, so that what was lost is caught up
CLOCK_SLACK_MS = 250  # a clock further ahead than this of what the caller expects has been set
POLL_MS = 100  # to the next look at what has no time of its own
RESERVED_MS = 2_000  # for whom a large call is refused; asking again renews it
LARGE_SHARE = 20  # a call of more than 1/20 of a minute's tokens is large,
LARGER = 2  # and so is one of more than twice what the last minute's requests had
FIRST_RPM = 1_200  # of a quota nobody knows; then e-fold every 10 s until it refuses,
GROWTH = 6  # that is, 6 times what the last minute had


@dataclass(frozen=True, slots=True)
class Correction:
    """What became of a permit: `bucket` is that of its draw; negative amounts come back."""

    bucket: int
    requests: int
    tokens: int


@dataclass(slots=True)
class Quota:
    """One quota's account."""

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
    ring: Ring = field(default_factory=Ring)
    slowdown: Slowdown = field(default_factory=Slowdown)
    day_end_ms: int = 0
    of_day: int = 0  # requests since the last midnight
    flying: dict[str, int] = field(default_factory=dict)  # owner -> calls in flight
    reserved_for: str = ""
    reserved_until_ms: int = 0
    epoch: str = ""  # the server that kept this account

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

    def begin(self, now_ms: int, day_ends: Days, epoch: str, expected_ms: int | None) -> None:
        """Bring the account to now: its clock, a fail-over, the day."""
        clock = now_ms + self.skew_ms
        if not self.epoch:
            self.born_ms, self.ring.tail = clock, oldest_at(clock)
        elif clock < self.last_ms:
            self.skew_ms += self.last_ms - clock  # the store's clock stepped back: ours stands still
        elif expected_ms is not None and clock > expected_ms + CLOCK_SLACK_MS:
            self.skew_ms -= clock - max(self.last_ms, expected_ms)  # forward: the caller knows better
        clock = self.last_ms = now_ms + self.skew_ms
        self.ring.expire(oldest_at(clock))
        if self.epoch and self.epoch != epoch:  # what a fail-over may have lost
            rpm, tpm = self.limits.requests_per_minute or 0, self.limits.tokens_per_minute or 0
            self.ring.add(clock // BUCKET_MS, (rpm + 59) // 60, (tpm + 59) // 60)
        self.epoch = epoch
        if now_ms >= self.day_end_ms or now_ms < self.day_end_ms - 2 * DAY_MS:
            self.day_end_ms = next((end for end in day_ends if end > now_ms), NO_DAY_MS)
            self.of_day = 0

    def hear(self, now_ms: int, owner: str, freed: int, succeeded: int) -> None:
        """Calls of `owner` ended, and so many were answered; what slowed the quota down may be over."""
        self.slowdown.answered(succeeded, held=self.hold_ms > now_ms)
        self.slowdown.recover(self.last_ms, self.limits.requests_per_minute)
        if freed:
            self.flying[owner] = max(0, self.flying.get(owner, 0) - freed)
            self.slowdown.probe_ended(owner)

    def correct(self, corrections: Sequence[Correction], day_began_ms: int) -> None:
        """Settle the difference between what was drawn and what was used."""
        for one in corrections:
            if one.bucket < self.ring.tail:
                continue  # it counts no more
            requests = self.ring.correct(one.bucket, one.requests, one.tokens)
            if one.bucket * BUCKET_MS - self.skew_ms >= day_began_ms:
                self.of_day = max(0, self.of_day + requests)

    # -- whether, and when ----------------------------------------------------------------------------------

    @property
    def day_left(self) -> int:
        """Requests that the day has left. A call larger than a day's has the day to itself."""
        of_day = self.limits.requests_per_day
        return NO_LIMIT if of_day is None or not self.of_day else of_day - self.of_day

    def blocked(self, now_ms: int, gate: str, size: int) -> tuple[int, str, int]:
        """(wait, binding, room): how long nothing goes, for what, and else how many calls may go at once.

        `size` is of the first of them, in requests.
        """
        room = NO_LIMIT
        if self.paused:
            return 1_000, "paused", 0
        if self.hold_ms > now_ms:
            return self.hold_ms - now_ms, self.why or "hold", 0
        limits = self.limits
        if self.day_left < size:
            return self.day_end_ms - now_ms, "requests_per_day", 0
        if self.reserved_for not in ("", gate) and self.reserved_until_ms > self.last_ms:
            return POLL_MS, "reserved", 0
        if limits.concurrency is not None:
            room = min(room, limits.concurrency - sum(self.flying.values()))
            if room <= 0:
                return POLL_MS, "concurrency", 0
        if self.slowdown.is_probed(self.last_ms):
            return POLL_MS, "probe", 0
        if self.slowdown.is_open:
            room = min(room, 1)
        return 0, "", room

    def rpm(self) -> int:
        """The pace in force, requests a minute; 0: none."""
        pace = self.limits.requests_per_minute or 0
        if not pace and self.conf.learns:
            pace = FIRST_RPM + GROWTH * self.ring.requests
        cap = self.slowdown.cap
        return cap if cap and (not pace or cap < pace) else pace

    def earliest(self, size: int, tokens: int, ahead_us: int) -> tuple[int, str, int]:
        """The first slot from `ahead_us` on: µs ahead, what bound it, and the oldest bucket that counts there.

        A call of more requests than a minute has waits for an empty one: whether that will do, the provider says.
        """
        ring, limits = self.ring, self.limits
        rpm = limits.requests_per_minute
        at_us = self.last_ms * 1000 + ahead_us
        binding = ""
        if self.next_us > at_us:
            at_us, binding = self.next_us, "requests_per_minute"
        tail, requests, of_tokens = ring.tail, ring.requests, ring.tokens
        while True:
            oldest = oldest_at(at_us // 1000)
            for bucket in range(tail, min(oldest, tail + RING)):
                requests -= ring.of_requests.get(bucket, 0)
                of_tokens -= ring.of_tokens.get(bucket, 0)
            tail = max(tail, oldest)
            if rpm is not None and requests and requests + size > rpm:
                binding, amounts = "requests_per_minute", ring.of_requests
            elif limits.tokens_per_minute is not None and of_tokens + tokens > limits.tokens_per_minute:
                binding, amounts = "tokens_per_minute", ring.of_tokens
            else:
                return at_us - self.last_ms * 1000, binding, tail
            first = tail
            while not amounts.get(first, 0):
                first += 1
            at_us = ((first + 1) * BUCKET_MS + SPAN_MS) * 1000

    def take(self, owner: str, gate: str, size: int, tokens: int, ahead_us: int, tail: int) -> None:
        """Take what `earliest` allowed."""
        self.ring.expire(tail)
        at_us = self.last_ms * 1000 + ahead_us
        self.ring.add(at_us // 1000 // BUCKET_MS, size, tokens)
        self.of_day += size
        self.next_us = at_us + self.gap_us(size, tokens)
        self.flying[owner] = self.flying.get(owner, 0) + 1
        self.slowdown.probe_goes(owner, self.last_ms)
        if self.reserved_for == gate:
            self.reserved_for = ""

    def reserve(self, gate: str, why: str, size: int, tokens: int) -> None:
        """A large call is not passed over by small ones: what comes free is kept for it while its gate asks.

        Another gate of the same process is another: a gate has its calls in order.
        """
        if why == "tokens_per_minute":
            large = tokens * LARGE_SHARE > (self.limits.tokens_per_minute or 0)
            large = large or tokens * self.ring.requests > LARGER * self.ring.tokens
        else:
            large = size > 1
        if large:
            self.reserved_for, self.reserved_until_ms = gate, self.last_ms + RESERVED_MS

    def gap_us(self, size: int, tokens: int) -> int:
        """To the next slot after a call of so many requests and tokens: paced, so that a minute's worth never goes at once."""
        fast, slow = PACE
        if self.last_ms - self.born_ms < SPAN_MS:
            fast = slow  # the first minute has nothing to catch up
        pace, limits = self.rpm(), self.limits
        gap = 0
        if pace and pace == limits.requests_per_minute:
            gap = size * MINUTE_US * fast // (pace * slow)
        elif pace:
            gap = size * MINUTE_US // pace
        if limits.tokens_per_minute:
            gap = max(gap, tokens * MINUTE_US // limits.tokens_per_minute * fast // slow)
        return gap

    # -- refusals and outages -------------------------------------------------------------------------------

    def refuse(self, now_ms: int, kind: str, for_ms: int, learnt: QuotaLimits) -> int:
        """The provider said no: hold everything, learn its limit, slow down. Returns the hold's length from now.

        `kind`: "day", "hold" (a minute's limit) or "capacity" (it named no quota). Holds never get shorter.
        """
        own = self.limits
        known = {name: value for name in LEARNT if (value := getattr(learnt, name)) is not None}
        self.learnt = replace(self.learnt, **known)
        slowdown, clock = self.slowdown, self._clock(now_ms)
        if kind != "day" and self.limits == own:  # else the limit just learnt, and nothing else, was wrong
            slowdown.decrease(clock, self._pace_seen(), kind)
        slowdown.probe_for = ""
        if kind == "capacity":
            for_ms = max(for_ms, slowdown.capacity_hold_ms())
        return self._hold(now_ms, for_ms, kind)

    def fail(self, now_ms: int, succeeded: int, row: int) -> tuple[int, bool]:
        """A call got no answer, a 5xx or a broken connection, after `succeeded` others that did; for `row` see
        slowdown.outage_row.

        Returns how long the quota is held from now (0: its breaker is closed), and whether the call is charged to its
        item. Neither what was under way when the breaker opened nor what opened it is, nor a failed probe for a long
        time; then it is, else an item that never gets an answer would be tried for ever.
        """
        slowdown, held = self.slowdown, self.hold_ms > now_ms
        slowdown.answered(succeeded, held=held)
        if slowdown.is_open and held:
            return self.hold_ms - now_ms, False
        was_open, clock = slowdown.is_open, self._clock(now_ms)
        if not slowdown.fail(clock, self._pace_seen(), row):
            return 0, True
        charged = was_open and slowdown.outlasts_patience(clock)
        return self._hold(now_ms, slowdown.outage_hold_ms(), "outage"), charged

    def _clock(self, now_ms: int) -> int:
        return max(self.last_ms, now_ms + self.skew_ms)

    def _pace_seen(self) -> int:
        return self.limits.requests_per_minute or max(FIRST_RPM, self.ring.requests)

    def _hold(self, now_ms: int, for_ms: int, why: str) -> int:
        """Returns the hold's length from now. Holds never get shorter."""
        self.slowdown.wait_until(self._clock(now_ms) + for_ms)
        if now_ms + for_ms > self.hold_ms:
            self.hold_ms, self.why = now_ms + for_ms, why
        return self.hold_ms - now_ms
