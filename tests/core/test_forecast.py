"""How fast a job goes, as the sweeper's looks at it tell, and when it will end."""

from __future__ import annotations

import pytest

from batchq.core.forecast import DAY_S, UNSEEN_MS, Pace, Work, look, shared_end_s, soonest_s
from batchq.core.limits import QuotaLimits

HOUR_MS = 3_600_000


def at_work(before: Pace | None, settled: int, now_ms: int) -> Pace:
    return look(before, settled, now_ms, waits=False, paused=False)


def test_the_pace_is_what_settles_between_looks() -> None:
    pace = at_work(at_work(None, 0, 0), 10, 2_000)
    assert pace.per_hour == 5 * 3600
    assert shared_end_s(Work(1.0, 100, per_hour=pace.per_hour), [], 0) == 20.0


def test_hours_without_a_worker_are_idle_and_teach_nothing() -> None:
    before = at_work(at_work(None, 0, 0), 10, 2_000)
    after = at_work(before, 11, 2_000 + 8 * HOUR_MS)
    assert after == Pace(11, 2_000 + 8 * HOUR_MS, before.per_hour, 8 * HOUR_MS)
    assert at_work(after, 21, after.at_ms + 2_000).per_hour == before.per_hour
    assert at_work(before, 10, before.at_ms + UNSEEN_MS).idle_ms == 0, "a busy sweeper is no absence"


def test_a_pause_is_idle_and_a_wait_for_a_quota_is_not() -> None:
    before = at_work(at_work(None, 0, 0), 10, 2_000)
    assert look(before, 10, 4_000, waits=True, paused=True) == Pace(10, 4_000, before.per_hour, 2_000)
    assert look(before, 10, 4_000, waits=True, paused=False) == Pace(10, 4_000, before.per_hour, 0)


def test_the_time_from_an_end_to_a_redrive_is_idle() -> None:
    before = at_work(at_work(None, 0, 0), 10, 2_000)
    assert at_work(before, 9, 2_000 + HOUR_MS) == Pace(9, 2_000 + HOUR_MS, before.per_hour, HOUR_MS)


def test_a_pace_noted_by_an_older_worker_is_read() -> None:
    assert Pace.from_wire("7:1000:60") == Pace(7, 1_000, 60)
    assert Pace.from_wire(Pace(7, 1_000, 60, 5).wire()) == Pace(7, 1_000, 60, 5)
    assert Pace.from_wire("") is None


def test_no_job_ends_before_its_quotas_days_have_room_for_it() -> None:
    limits, to_midnight_s = QuotaLimits(requests_per_minute=600, requests_per_day=100), 3_600.0

    def soonest(left: int, used_today: int) -> float:
        return soonest_s(left, limits, used_today, to_midnight_s)

    assert soonest(40, 60) == 4.0, "today"
    assert soonest(41, 60) == to_midnight_s + 0.1
    assert soonest(140, 60) == soonest(100, 120) == to_midnight_s + 10.0
    assert soonest(1_000, 100) == to_midnight_s + 9 * DAY_S + 10.0
    assert soonest_s(50, QuotaLimits(), 0, to_midnight_s) == 0.0
    assert soonest_s(50, QuotaLimits(requests_per_day=20), 0, to_midnight_s) == to_midnight_s + DAY_S


PER_HOUR = 600 * 60  # ten a second


def test_a_small_job_delays_a_large_one_by_its_own_work_only() -> None:
    small, large = Work(1.0, 2, out=2), Work(1.0, 2_984, out=60)
    assert shared_end_s(large, [small], PER_HOUR) == pytest.approx(298.6)
    assert shared_end_s(small, [], PER_HOUR) == 0.2


def test_jobs_end_in_the_order_of_what_is_left_by_weight() -> None:
    light, heavy, third = Work(1.0, 300), Work(2.0, 300), Work(1.0, 900)
    assert shared_end_s(heavy, [light, third], PER_HOUR) == 60.0, "300, and 150 of each of the others"
    assert shared_end_s(light, [heavy, third], PER_HOUR) == 90.0, "all of the heavy one too"
    assert shared_end_s(third, [light, heavy], PER_HOUR) == 150.0, "all there is"


def test_who_has_just_come_waits_behind_what_is_on_its_way() -> None:
    assert shared_end_s(Work(1.0, 2, out=2), [Work(1.0, 3_000, out=148)], PER_HOUR) == 15.0


def test_what_really_settles_counts_where_it_is_less_than_the_limit() -> None:
    slow = Work(1.0, 100, per_hour=PER_HOUR / 4)
    assert shared_end_s(slow, [], PER_HOUR) == 40.0
    assert shared_end_s(slow, [Work(1.0, 100, per_hour=PER_HOUR / 4)], PER_HOUR) == 40.0, "both at half of it"
    assert shared_end_s(slow, [], 0) == 40.0, "no limit is known"
    assert shared_end_s(Work(1.0, 100, per_hour=2 * PER_HOUR), [], PER_HOUR) == 10.0, "it was lowered since"
    assert shared_end_s(Work(1.0, 100), [slow], 0) is None, "nothing tells how fast this one goes"


def test_tokens_may_be_what_takes_longest() -> None:
    limits = QuotaLimits(requests_per_minute=600, tokens_per_minute=1_000)
    assert soonest_s(600, limits, 0, DAY_S, tokens=500) == 60.0
    assert soonest_s(600, limits, 0, DAY_S, tokens=3_000) == 180.0
    assert soonest_s(600, QuotaLimits(tokens_per_minute=1_000), 0, DAY_S, tokens=3_000) == 180.0
