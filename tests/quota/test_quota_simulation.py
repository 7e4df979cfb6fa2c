"""A fleet of 200 workers at 1,000,000 requests a minute, simulated on a virtual clock with the real arithmetic.

A permit stands for 1,000 requests here, so that a day has 1.44 million of them.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from batchq.core import pacific, permits, ring
from batchq.core.limits import QuotaLimits
from batchq.core.permits import Asked
from batchq.core.quota import Quota
from batchq.emulator.limits import Limiter, Limits, Window

RPM = 1_000
WORKERS = 200
TICK_MS = 500
DRAWING = 6  # workers whose turn comes in a tick
MIDNIGHT = 1_795_334_400_000  # 2026-11-22 08:00 UTC, Pacific midnight


def simulate(
    quota: Quota, start_ms: int, length_ms: int, dice: random.Random, steps: dict[int, int]
) -> list[int]:
    """Times (ms since the start, as time truly passes) at which calls arrive, each as late as it may or at once."""
    seen: dict[int, tuple[int, tuple[int, ...]]] = {}
    calls: list[int] = []
    clock, days = start_ms, pacific.pacific_days(start_ms)
    for real in range(0, length_ms, TICK_MS):
        clock += steps.get(real, 0)
        if not days[0] <= clock < days[1]:
            days = pacific.pacific_days(clock)
        for worker in dice.sample(range(WORKERS), DRAWING) if seen else range(WORKERS):
            expected: tuple[int, ...] = ()
            if worker in seen:
                at, clocks = seen[worker]
                expected = tuple(one + real - at for one in clocks)
            asked = Asked(str(worker), (0,) * 4, 1_000, days, expected)
            granted = permits.draw([quota], asked, now_ms=clock, epoch="e")
            seen[worker] = real, granted.clocks_ms
            late = ring.VALID_MS + ring.TRAVEL_MS
            calls += [real + slot + dice.choice((0, dice.randrange(late), late)) for slot in granted.slots_ms]
        clock += TICK_MS
    return sorted(calls)


def most_in_a_minute(calls: list[int]) -> int:
    most, oldest = 0, 0
    for newest, at in enumerate(calls):
        while at - calls[oldest] >= 60_000:
            oldest += 1
        most = max(most, newest - oldest + 1)
    return most


@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize("rpm", [15, 600, pytest.param(6_000, marks=pytest.mark.scale)])
def test_whatever_a_minute_is_to_the_provider_it_refuses_nothing(window: Window, rpm: int) -> None:
    """Rolling, fixed or a bucket: the emulator's own meters, and calls as late as they may be."""
    dice, quota, limiter = random.Random(rpm), Quota(), Limiter(window)
    quota.configure(QuotaLimits(requests_per_minute=rpm), 0)
    days = pacific.pacific_days(MIDNIGHT)
    calls: list[int] = []
    for now in range(MIDNIGHT, MIDNIGHT + 300_000, TICK_MS):
        for owner in "ab":
            asked = Asked(owner, (0,) * (1 + rpm // 100), 1_000, days)
            slots = permits.draw([quota], asked, now_ms=now, epoch="e").slots_ms
            calls += [now + slot + dice.randrange(ring.VALID_MS + ring.TRAVEL_MS) for slot in slots]
    calls.sort()
    for at in calls:
        assert limiter.admit("p", "m", Limits(rpm), 1, 0, at * 1_000) == ()
    minutes = [sum(1 for at in calls if 0 <= at - MIDNIGHT - 60_000 * n < 60_000) for n in range(1, 5)]
    assert sum(minutes) >= min(0.98 * rpm, rpm - 1) * 4


def check(length_ms: int, steps: dict[int, int], seed: int, least: float) -> None:
    quota = Quota()
    quota.configure(QuotaLimits(requests_per_minute=RPM), 0)
    calls = simulate(quota, MIDNIGHT - length_ms // 2, length_ms, random.Random(seed), steps)
    assert most_in_a_minute(calls) <= RPM
    used = sum(1 for at in calls if 60_000 <= at < length_ms)
    assert used >= least * RPM * (length_ms - 60_000) / 60_000


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.scale) for n in range(1, 5))])
def test_a_large_fleet_is_never_over_in_twenty_minutes_whatever_the_clock_does(seed: int) -> None:
    dice = random.Random(seed)
    steps = {
        dice.randrange(60, 1_100) * 1_000: dice.choice((-3_600_000, 3_600_000, 700, -40)) for _ in range(4)
    }
    check(1_200_000, steps, seed, least=0.98)  # four steps in so short a time cost a little


def test_the_days_requests_end_at_the_limit_and_begin_again_at_midnight() -> None:
    quota = Quota()
    quota.configure(QuotaLimits(requests_per_minute=RPM, requests_per_day=2_000), 0)
    calls = simulate(quota, MIDNIGHT - 300_000, 600_000, random.Random(1), {})
    before = [at for at in calls if at < 300_000]
    assert len(before) == 2_000
    assert max(before) < 200_000
    assert len(calls) - len(before) == 2_000
    quota.configure(replace(quota.conf, requests_per_day=6_000), 1)
    assert quota.limits.requests_per_day == 6_000


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_a_large_fleet_is_never_over_in_a_day() -> None:
    hour = 3_600_000
    check(24 * hour, {5 * hour: -hour, 9 * hour: hour, 14 * hour: 900, 20 * hour: -30}, 1, least=0.985)
