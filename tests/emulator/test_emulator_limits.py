"""Quotas admit what they promise, in whole microseconds: nothing here sleeps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchq.emulator.limits import (
    DAY_BEGINS_US,
    DAY_US,
    MINUTE_US,
    SECOND_US,
    BucketMeter,
    FixedMeter,
    Limiter,
    Limits,
    Meter,
    Quota,
    RollingMeter,
    Window,
)
from batchq.errors import ConfigurationError

START_US = 1_790_000_000 * SECOND_US
STEPS = st.lists(st.tuples(st.integers(0, 20 * SECOND_US), st.integers(1, 7)), min_size=1, max_size=80)
Taken = list[tuple[int, int]]


def run(meter: Meter, limit: int, steps: list[tuple[int, int]]) -> tuple[Taken, Taken]:
    """Ask after each pause; what was taken, and what was refused with its wait."""
    now_us = START_US
    taken: Taken = []
    refused: Taken = []
    for pause_us, amount in steps:
        now_us += pause_us
        wait_us = meter.wait_us(amount, limit, now_us)
        if wait_us == 0:
            meter.take(amount, now_us)
            taken.append((now_us, amount))
        else:
            refused.append((now_us, wait_us))
    return taken, refused


def most_in_a_minute(taken: Taken) -> int:
    return max(
        (sum(amount for at, amount in taken if end - MINUTE_US < at <= end) for end, _ in taken), default=0
    )


@settings(max_examples=200)
@given(st.integers(1, 20), STEPS)
def test_no_rolling_minute_admits_more_than_the_limit(limit: int, steps: list[tuple[int, int]]) -> None:
    taken, _ = run(RollingMeter(), limit, steps)
    assert most_in_a_minute(taken) <= limit


@settings(max_examples=200)
@given(st.integers(1, 20), STEPS)
def test_a_rolling_minute_refuses_only_what_would_not_fit(limit: int, steps: list[tuple[int, int]]) -> None:
    meter, now_us = RollingMeter(), START_US
    taken: Taken = []
    for pause_us, amount in steps:
        now_us += pause_us
        inside = sum(size for at, size in taken if now_us - MINUTE_US < at)
        if meter.wait_us(amount, limit, now_us):
            assert inside + amount > limit
        else:
            meter.take(amount, now_us)
            taken.append((now_us, amount))


@settings(max_examples=200)
@given(st.integers(7, 20), STEPS, st.sampled_from(list(Window)))
def test_the_wait_named_is_exact(limit: int, steps: list[tuple[int, int]], window: Window) -> None:
    """One microsecond earlier it is refused still, then it is admitted."""
    meter = {Window.ROLLING: RollingMeter, Window.FIXED: FixedMeter, Window.BUCKET: BucketMeter}[window]()
    now_us = START_US
    for pause_us, amount in steps:
        now_us += pause_us
        wait_us = meter.wait_us(amount, limit, now_us)
        if wait_us:
            if wait_us > 1:
                assert meter.wait_us(amount, limit, now_us + wait_us - 1) > 0
            now_us += wait_us
            assert meter.wait_us(amount, limit, now_us) == 0
        meter.take(amount, now_us)


@settings(max_examples=200)
@given(st.integers(1, 20), STEPS)
def test_a_minute_of_the_clock_admits_at_most_the_limit(limit: int, steps: list[tuple[int, int]]) -> None:
    taken, _ = run(FixedMeter(), limit, steps)
    minutes: dict[int, int] = {}
    for at, amount in taken:
        minutes[at // MINUTE_US] = minutes.get(at // MINUTE_US, 0) + amount
    assert max(minutes.values(), default=0) <= limit


def test_around_the_turn_of_a_fixed_minute_twice_the_limit_passes() -> None:
    meter = FixedMeter()
    turn_us = START_US // MINUTE_US * MINUTE_US + MINUTE_US
    for at_us in (turn_us - 1, turn_us):
        assert meter.wait_us(10, 10, at_us) == 0
        meter.take(10, at_us)
    assert meter.wait_us(1, 10, turn_us) == MINUTE_US


@settings(max_examples=200)
@given(st.integers(7, 20), st.integers(7, 20), STEPS)
def test_a_bucket_admits_at_most_its_burst_and_the_rate(
    limit: int, burst: int, steps: list[tuple[int, int]]
) -> None:
    taken, _ = run(BucketMeter(burst=burst), limit, steps)
    assert most_in_a_minute(taken) <= min(burst, limit) + limit


def test_a_full_bucket_gives_its_burst_at_once_then_the_rate() -> None:
    meter = BucketMeter(burst=3)
    for _ in range(3):
        assert meter.wait_us(1, 60, START_US) == 0
        meter.take(1, START_US)
    assert meter.wait_us(1, 60, START_US) == SECOND_US


def test_all_quotas_are_taken_together_or_none() -> None:
    limiter = Limiter()
    limits = Limits(rpm=5, tpm=100)
    assert limiter.admit("p", "m", limits, 1, 90, START_US) == ()
    for _ in range(10):  # refused for tokens: takes no request either
        (breach,) = limiter.admit("p", "m", limits, 1, 50, START_US + 1)
        assert (breach.quota, breach.limit) == (Quota.TPM, 100)
    for _ in range(4):
        assert limiter.admit("p", "m", limits, 1, 1, START_US + 2) == ()
    assert {breach.quota for breach in limiter.admit("p", "m", limits, 1, 50, START_US + 3)} == {
        Quota.RPM,
        Quota.TPM,
    }


def test_keys_and_models_have_quotas_of_their_own() -> None:
    limiter = Limiter()
    for project, model in (("a", "m"), ("b", "m"), ("a", "n")):
        assert limiter.admit(project, model, Limits(rpm=1), 1, 1, START_US) == ()
        assert limiter.admit(project, model, Limits(rpm=1), 1, 1, START_US) != ()


def test_the_requests_of_a_day_come_back_at_midnight_utc_minus_8_or_when_told() -> None:
    limiter, limits = Limiter(), Limits(rpd=1)
    midnight_us = START_US // DAY_US * DAY_US + DAY_BEGINS_US
    assert limiter.admit("p", "m", limits, 1, 1, midnight_us - 2) == ()
    (breach,) = limiter.admit("p", "m", limits, 1, 1, midnight_us - 1)
    assert (breach.quota, breach.wait_us) == (Quota.RPD, 1)
    assert limiter.admit("p", "m", limits, 1, 1, midnight_us) == ()
    assert limiter.admit("p", "m", limits, 1, 1, midnight_us + 1) != ()
    limiter.new_day()
    assert limiter.admit("p", "m", limits, 1, 1, midnight_us + 2) == ()


def test_a_limit_lowered_counts_what_was_taken_before() -> None:
    limiter = Limiter()
    for _ in range(5):
        limiter.admit("p", "m", Limits(rpm=10), 1, 1, START_US)
    assert limiter.admit("p", "m", Limits(rpm=5), 1, 1, START_US) != ()
    assert limiter.admit("p", "m", Limits(rpm=6), 1, 1, START_US) == ()


@pytest.mark.parametrize("limits", [{"rpm": -1}, {"tpm": 1.5}, {"rpd": True}])
def test_a_limit_that_is_no_number_of_requests_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="must be a whole number"):
        Limits(**limits)
