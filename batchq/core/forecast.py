"""When a job will end: from the rate at which it really settles, else from what its quotas allow. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchq.core.limits import QuotaLimits

SHORTEST_MS = 1_500  # between two looks at a job's progress
UNSEEN_MS = 60_000  # a longer time without a look: no worker was there
WEIGHT = 0.3  # of the newest stretch
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A job's progress as last looked at. `per_hour` is items settled an hour, smoothed; 0: nothing known yet.
    `idle_ms` is time in which it was paused, had ended, or no worker was there."""

    settled: int
    at_ms: int
    per_hour: int
    idle_ms: int = 0

    def wire(self) -> str:
        return f"{self.settled}:{self.at_ms}:{self.per_hour}:{self.idle_ms}"

    @classmethod
    def from_wire(cls, text: str | None) -> Pace | None:
        if not text:
            return None
        return cls(*map(int, text.split(":")))


def look(before: Pace | None, settled: int, now_ms: int, *, waits: bool, paused: bool) -> Pace:
    """The pace after another look. While the job `waits` for a quota, or is idle, nothing is learnt of its rate."""
    if before is None:
        return Pace(settled, now_ms, 0)
    passed = now_ms - before.at_ms
    reopened = settled < before.settled  # by a redrive
    if passed < SHORTEST_MS and not reopened:
        return before
    idle = paused or passed > UNSEEN_MS
    idle_ms = before.idle_ms + (passed if idle else 0)
    if waits or idle or reopened:
        return Pace(settled, now_ms, before.per_hour, idle_ms)
    rate = (settled - before.settled) * 3_600_000 // passed
    if before.per_hour:
        rate = round(before.per_hour + WEIGHT * (rate - before.per_hour))
    return Pace(settled, now_ms, max(0, rate), idle_ms)


def soonest_s(
    left: int, limits: QuotaLimits, used_today: int, to_midnight_s: float, tokens: float = 0.0
) -> float:
    """Seconds that a quota takes for `left` requests with so many tokens at least, if nobody else has any."""
    by_requests = _by_requests(left, limits, used_today, to_midnight_s)
    tpm = limits.tokens_per_minute
    return max(by_requests, tokens * 60 / tpm) if tpm else by_requests


def _by_requests(left: int, limits: QuotaLimits, used_today: int, to_midnight_s: float) -> float:
    rpm, rpd = limits.requests_per_minute, limits.requests_per_day
    beyond = 0 if rpd is None else left - max(0, rpd - used_today)
    if rpd is None or beyond <= 0:
        return left * 60 / rpm if rpm else 0.0
    nights = -(-beyond // rpd)
    of_last_day = beyond - (nights - 1) * rpd
    return to_midnight_s + (nights - 1) * DAY_S + (of_last_day * 60 / rpm if rpm else 0.0)


@dataclass(frozen=True, slots=True)
class Work:
    """What a lane still has to do of what it shares with others: `left` items, `out` of them on their way, so many of
    which settled an hour lately (0: not known)."""

    weight: float
    left: int
    out: int = 0
    per_hour: float = 0.0


def shared_end_s(mine: Work, others: Iterable[Work], allowed_per_hour: float) -> float | None:
    """Seconds until the last item of `mine`; None while neither a limit (0: none) nor progress tells.

    Each gets its part by weight; what ends sooner leaves its part to the others. What is on its way already goes
    first: a job that has just come waits behind it, however small it is.
    """
    beside = list(others)
    rate = allowed_per_hour
    if mine.per_hour:
        seen = mine.per_hour + sum(one.per_hour for one in beside)
        rate = min(rate, seen) if rate else seen
    if rate <= 0:
        return None
    reach = mine.left / mine.weight
    in_turn = mine.left + sum(min(one.left, one.weight * reach) for one in beside)
    queued = mine.left + sum(one.out for one in beside)
    return max(in_turn, queued) * 3600 / rate
