"""The permits of quotas, on the store's clock: paced, never over in any rolling minute, all dimensions at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quota_histories import holds, on_histories

from batchq.core import pacific, permits, ring
from batchq.core.limits import QuotaLimits
from batchq.core.permits import Asked, Granted
from batchq.core.quota import FIRST_RPM, Correction, Quota
from batchq.store.database import Database
from batchq.store.quotas import QuotaStore

START_MS = 1_800_000_000_000


class Bench:
    """Draws on the real script at times of its own."""

    def __init__(self, database: Database) -> None:
        database.now_ms = START_MS
        self.database, self.store = database, QuotaStore(database)
        self.store.began_ms = START_MS

    @property
    def now(self) -> int:
        assert self.database.now_ms is not None
        return self.database.now_ms

    def pass_time(self, ms: int) -> None:
        self.database.now_ms = self.now + ms

    def draw(
        self,
        costs: int | tuple[int, ...],
        limits: QuotaLimits,
        owner: str = "me",
        *,
        ahead_ms: int = 1_000,
        freed: int = 0,
        corrections: tuple[Correction, ...] = (),
    ) -> Granted:
        wanted = (0,) * costs if isinstance(costs, int) else costs
        asked = Asked(owner, wanted, ahead_ms, pacific.pacific_days(self.now), freed=freed)
        return self.store.draw(["q"], [limits], asked, [corrections])


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def most_in_a_minute(calls: list[tuple[int, int]]) -> tuple[int, int]:
    """Most requests and most tokens in any rolling minute, each call as late as it may be for the worst of it."""
    calls.sort()
    most_requests = most_tokens = tokens = oldest = 0
    slack = ring.VALID_MS + ring.TRAVEL_MS  # a later call may come so much closer to an earlier one
    for newest, (at, cost) in enumerate(calls):
        tokens += cost
        while at - calls[oldest][0] >= 60_000 + slack:
            tokens -= calls[oldest][1]
            oldest += 1
        most_requests, most_tokens = max(most_requests, newest - oldest + 1), max(most_tokens, tokens)
    return most_requests, most_tokens


@on_histories
def test_never_over_in_any_rolling_minute(database: Database, examples: int) -> None:
    @given(
        rpm=st.sampled_from([1, 3, 15, 60, 600, 3_000]),
        tpm=st.sampled_from([200, 10_000, 1_000_000]),
        asks=st.lists(
            st.tuples(st.integers(0, 20_000), st.lists(st.integers(0, 150), min_size=1, max_size=40)),
            min_size=1,
            max_size=50,
        ),
    )
    def never_over(rpm: int, tpm: int, asks: list[tuple[int, list[int]]]) -> None:
        database.command("FLUSHALL")
        bench = Bench(database)
        limits = QuotaLimits(requests_per_minute=rpm, tokens_per_minute=tpm)
        calls: list[tuple[int, int]] = []
        for pause_ms, costs in asks:
            bench.pass_time(pause_ms)
            drawn = bench.draw(tuple(costs), limits)
            calls += [(bench.now + slot, cost) for slot, cost in zip(drawn.slots_ms, costs, strict=False)]
            assert drawn.slots_ms or drawn.wait_ms > 0
        requests, tokens = most_in_a_minute(calls)
        assert requests <= rpm
        assert tokens <= tpm

    holds(examples, never_over)


@pytest.mark.parametrize("sizes", [(100,), (100, 1, 7), (75, 150)])
def test_a_pack_counts_for_each_of_its_texts_and_is_paced_so(bench: Bench, sizes: tuple[int, ...]) -> None:
    limits, sent = QuotaLimits(requests_per_minute=300), list[tuple[int, int]]()
    while bench.now < START_MS + 300_000:
        size = sizes[len(sent) % len(sizes)]
        asked = Asked("me", (0,), 1_000, pacific.pacific_days(bench.now), sizes=(size,))
        drawn = bench.store.draw(["q"], [limits], asked, [()])
        sent += [(bench.now + slot, size) for slot in drawn.slots_ms]
        bench.pass_time(max(100, drawn.wait_ms))
    span = 60_000 + ring.VALID_MS + ring.TRAVEL_MS
    for first, (at, _) in enumerate(sent):
        assert sum(size for later, size in sent[first:] if later < at + span) <= 300
    gaps = [(later - at) / size for (at, size), (later, _) in pairwise(sent)]
    assert min(gaps) >= 200 * 20 // 21 - 1, "a large one is followed by a long pause"
    assert sum(size for at, size in sent if at >= START_MS + 60_000) >= 0.6 * 4 * 300


def test_a_pack_waits_for_a_day_that_has_room_for_it(bench: Bench) -> None:
    limits = QuotaLimits(requests_per_day=120)

    def draw(*sizes: int) -> Granted:
        asked = Asked("me", (0,) * len(sizes), 1_000, pacific.pacific_days(bench.now), sizes=sizes)
        return bench.store.draw(["q"], [limits], asked, [()])

    assert len(draw(100, 100).slots_ms) == 1
    assert draw(100).binding == "requests_per_day"
    assert len(draw(20).slots_ms) == 1
    assert draw(1).binding == "requests_per_day"


@pytest.mark.parametrize("rpm", [600, pytest.param(6_000, marks=pytest.mark.scale)])
def test_a_busy_quota_is_used_to_98_percent_without_bursts(bench: Bench, rpm: int) -> None:
    slots: list[int] = []
    while bench.now < START_MS + 300_000:
        for owner in ("a", "b"):
            drawn = bench.draw(1 + rpm // 120, QuotaLimits(requests_per_minute=rpm), owner)
            slots += [bench.now + slot for slot in drawn.slots_ms]
        bench.pass_time(500)
    slots.sort()
    gap_ms = 60_000 / rpm
    assert min(later - earlier for earlier, later in pairwise(slots)) >= gap_ms * 20 // 21 - 1, "no bursts"
    used = sum(1 for slot in slots if START_MS + 60_000 <= slot < START_MS + 300_000)
    assert used >= 0.98 * 4 * rpm


@on_histories
def test_steps_of_the_servers_clock_neither_stop_nor_flood_it(examples: int) -> None:
    holds(examples, neither_stopped_nor_flooded)


@given(steps=st.lists(st.sampled_from([0, 0, 0, -3_600_000, -700, 3_600_000, 86_400_000]), max_size=40))
def neither_stopped_nor_flooded(steps: list[int]) -> None:
    """On the model: three owners who measure time themselves, while the server's clock leaps about."""
    quota, limits, real = Quota(), QuotaLimits(requests_per_minute=600), 0
    clock, calls = START_MS, []
    expected: dict[str, tuple[int, ...]] = dict.fromkeys("abc", ())
    quota.configure(limits, 0)
    for step in [0, *steps, *[0] * 200]:
        clock += step
        for owner in "abc":
            asked = Asked(owner, (0,) * 4, 1_000, pacific.pacific_days(clock), expected[owner])
            granted = permits.draw([quota], asked, now_ms=clock, epoch="e")
            calls += [(real + slot, 0) for slot in granted.slots_ms]
            expected[owner] = tuple(at + 500 for at in granted.clocks_ms)  # at its next draw
        real += 500
        clock += 500
    assert most_in_a_minute(calls)[0] <= 600
    busy = [at for at, _ in calls if 60_000 <= at < real]
    assert len(busy) >= 0.97 * 10 * (real - 60_000) / 1000, "and the quota is used all the while"


def test_a_fail_over_costs_a_second_and_a_lost_account_starts_at_the_limits_own_pace(bench: Bench) -> None:
    limits = QuotaLimits(requests_per_minute=60)
    bench.store.epoch = "first"
    bench.draw(1, limits)
    bench.store.epoch = "second"
    bench.draw(1, limits)
    state = bench.database.command("HGET", bench.database.keys.quota("q"), "sum_r")
    assert int(state) == 3, "one call, one second's worth, one call"
    bench.database.command("FLUSHALL")
    slots = bench.draw(50, QuotaLimits(requests_per_minute=600)).slots_ms
    assert [later - earlier for earlier, later in pairwise(slots)] == [100] * (len(slots) - 1)


def test_calls_in_flight_are_limited_and_freed(bench: Bench) -> None:
    limits = QuotaLimits(concurrency=3)
    assert len(bench.draw(2, limits, "a").slots_ms) == 2
    assert len(bench.draw(5, limits, "b").slots_ms) == 1
    refused = bench.draw(1, limits, "a")
    assert (refused.slots_ms, refused.binding) == ((), "concurrency")
    assert len(bench.draw(5, limits, "b", freed=1).slots_ms) == 1
    bench.store.clear_owners("q", alive=["a"])
    assert len(bench.draw(5, limits, "a").slots_ms) == 1, "what the dead process held is free"


def test_all_dimensions_are_drawn_together_or_not_at_all(bench: Bench) -> None:
    limits = QuotaLimits(requests_per_minute=600, tokens_per_minute=1_000, requests_per_day=3)
    drawn = bench.draw((400, 400, 400), limits, ahead_ms=60_000)
    assert (len(drawn.slots_ms), drawn.binding) == (2, "tokens_per_minute")
    view = bench.store.view("q", live=True)
    assert (view.used_today, view.in_flight) == (2, 2), "the refused one took nothing of any"
    bench.pass_time(70_000)
    assert len(bench.draw((1, 1), limits).slots_ms) == 1, "the day has one left"
    spent = bench.draw((1,), limits)
    assert spent.binding == "requests_per_day"
    assert spent.wait_ms == pacific.until_pacific_midnight_ms(bench.now)
    bench.pass_time(spent.wait_ms)
    assert len(bench.draw((1,), limits).slots_ms) == 1, "a new day"


def test_what_was_not_used_comes_back_and_real_usage_settles_the_account(bench: Bench) -> None:
    limits = QuotaLimits(tokens_per_minute=1_000)
    drawn = bench.draw((900,), limits)
    bucket = (drawn.clocks_ms[0] + drawn.slots_ms[0]) // ring.BUCKET_MS
    bench.draw(0, limits, corrections=(Correction(bucket, 0, -800),), freed=1)
    assert bench.store.view("q", live=True).used_tokens == 100
    bench.draw(0, limits, corrections=(Correction(bucket, 0, 2_000),))
    assert bench.store.view("q", live=True).used_tokens == 2_100, "a debt"
    bench.draw(0, limits, corrections=(Correction(bucket, -1, -5_000),))
    view = bench.store.view("q", live=True)
    assert (view.used_requests, view.used_tokens) == (0, 0), "never a credit"


def test_an_item_larger_than_the_whole_minute_is_named_at_once(bench: Bench) -> None:
    drawn = bench.draw((5, 2_000), QuotaLimits(tokens_per_minute=1_000))
    assert len(drawn.slots_ms) == 1
    drawn = bench.draw((2_000,), QuotaLimits(tokens_per_minute=1_000))
    assert (drawn.binding, drawn.limit, drawn.slots_ms) == ("too_large", 1_000, ())


def test_a_large_item_is_not_passed_over_for_ever(bench: Bench) -> None:
    limits = QuotaLimits(tokens_per_minute=1_000)
    while bench.draw((50,), limits, "small").slots_ms:
        bench.pass_time(3_000)
    for _ in range(400):
        if bench.draw((900,), limits, "large").slots_ms:
            break
        bench.draw((50,) * 5, limits, "small")
        bench.pass_time(300)
    else:
        pytest.fail("small items took all that came free")


def test_a_hold_stops_everybody_and_never_gets_shorter(bench: Bench) -> None:
    limits = QuotaLimits(requests_per_minute=60)
    bench.draw(1, limits)
    assert bench.store.refuse("q", "hold", 5_000, QuotaLimits()) == 5_000
    assert bench.store.refuse("q", "hold", 1_000, QuotaLimits()) == 5_000
    drawn = bench.draw(1, limits)
    assert (drawn.slots_ms, drawn.binding, drawn.wait_ms) == ((), "hold", 5_000)
    bench.pass_time(5_001)
    assert bench.store.view("q").held_ms == 0
    assert len(bench.draw(5, limits, ahead_ms=500).slots_ms) == 1, "it goes on without a burst"


def test_a_limit_is_learnt_from_the_refusal_kept_and_reset(bench: Bench) -> None:
    unknown = QuotaLimits(learns=True)
    assert bench.draw(1, unknown).rpm == FIRST_RPM
    bench.store.refuse("q", "hold", 10, QuotaLimits(requests_per_minute=90, tokens_per_minute=5_000))
    bench.pass_time(20)
    assert bench.draw(1, unknown).rpm == 90
    view = QuotaStore(bench.database).view("q")
    assert (view.limits.requests_per_minute, view.limits.tokens_per_minute) == (90, 5_000)
    bench.store.reset("q")
    assert bench.store.view("q").limits.requests_per_minute is None


def test_an_unknown_quota_is_tried_out_by_growing(bench: Bench) -> None:
    unknown = QuotaLimits(learns=True)
    in_each_second = []
    for _ in range(40):
        got = 0
        for _ in range(4):
            got += len(bench.draw(500, unknown, ahead_ms=250).slots_ms)
            bench.pass_time(250)
        in_each_second.append(got)
    assert in_each_second[0] <= 25, "a modest start"
    assert in_each_second[-1] > 4 * in_each_second[10] > 0


def test_want_of_capacity_slows_down_and_recovers(bench: Bench) -> None:
    limits = QuotaLimits(requests_per_minute=6_000)
    bench.draw(1, limits)
    for row in range(5):
        held_ms = bench.store.refuse("q", "capacity", 0, QuotaLimits())
        assert held_ms == 500 * 2 ** (row + 1), "the breaker waits longer each time"
        bench.pass_time(held_ms)
        probes = bench.draw(10, limits)
        assert len(probes.slots_ms) <= (10 if row < 2 else 1), "one probe at a time"
    slowest = bench.store.view("q").slowed_rpm
    assert slowest < 2_500
    asked = Asked("me", (), 500, pacific.pacific_days(bench.now), succeeded=1)
    bench.store.draw(["q"], [limits], asked)
    assert bench.store.view("q").slowed_rpm >= 3_000, "the probe came through: not from the bottom"
    bench.pass_time(60_000)
    assert bench.draw(1, limits).rpm == 6_000


def test_one_probe_at_a_time_while_the_breaker_is_open(bench: Bench) -> None:
    limits = QuotaLimits(requests_per_minute=6_000)
    bench.draw(1, limits)
    for _ in range(3):
        bench.pass_time(bench.store.refuse("q", "capacity", 0, QuotaLimits()))
    assert len(bench.draw(10, limits, "a").slots_ms) == 1
    bench.pass_time(1_000)
    for owner in ("a", "b"):
        drawn = bench.draw(10, limits, owner)
        assert (drawn.slots_ms, drawn.binding) == ((), "probe"), "the first one is still out"
    assert bench.store.view("q").why == "probe"
    assert len(bench.draw(10, limits, "a", freed=1).slots_ms) == 1, "it ended without an answer: another"
    bench.pass_time(30_000)
    assert len(bench.draw(10, limits, "b").slots_ms) == 1, "its worker died with it: another"


def test_failures_that_outweigh_the_answers_open_the_breaker_and_the_first_answer_closes_it(
    bench: Bench,
) -> None:
    limits = QuotaLimits(requests_per_minute=6_000)
    bench.draw(1, limits)
    assert [bench.store.fail("q", 4, 20) for _ in range(200)] == [(0, True)] * 200, "one of five may fail"
    opened = [bench.store.fail("q", 0, 20) for _ in range(19)]
    assert opened == [(0, True)] * 18 + [(1_000, False)], "20 with the last of those"
    assert bench.store.fail("q", 3, 20) == (1_000, False), "under way when it opened: charged to nobody"
    drawn = bench.draw(10, limits)
    assert (drawn.slots_ms, drawn.binding) == ((), "outage")
    holds, began = [], bench.now
    while True:
        bench.pass_time(bench.store.view("q").held_ms)
        assert len(bench.draw(10, limits).slots_ms) == 1
        held_ms, charged = bench.store.fail("q", 0, 20)
        assert charged == (bench.now - began > 600_000), (
            "else an item without an answer would be tried for ever"
        )
        if charged:
            break
        holds.append(held_ms)
    assert holds[:7] == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert set(holds[7:]) == {30_000}
    bench.pass_time(30_000)
    bench.draw(1, limits)
    asked = Asked("me", (0,) * 100, 1_000, pacific.pacific_days(bench.now), freed=1, succeeded=1)
    drawn = bench.store.draw(["q"], [limits], asked)
    assert len(drawn.slots_ms) > 20, "open at once, and not from the bottom"
    assert bench.store.view("q").slowed_rpm == 3_000
    bench.pass_time(60_000)
    assert bench.draw(1, limits).rpm == 6_000


def test_what_a_person_sets_holds_over_the_settings_until_it_is_reset(bench: Bench) -> None:
    conf = QuotaLimits(requests_per_minute=60)
    assert bench.draw(1, conf).rpm == 60
    bench.store.set("q", QuotaLimits(requests_per_minute=6_000))
    assert bench.draw(1, conf).rpm == 6_000
    bench.store.set("q", QuotaLimits(requests_per_minute=0))
    assert bench.draw(1, conf).rpm == 0, "0: no limit"
    bench.store.reset("q")
    assert bench.draw(1, conf).rpm == 60


def test_the_settings_of_the_worker_started_last_hold(bench: Bench) -> None:
    later = QuotaStore(bench.database)
    later.began_ms = START_MS + 1
    asked = Asked("other", (0,), 500, pacific.pacific_days(bench.now))
    assert later.draw(["q"], [QuotaLimits(requests_per_minute=90)], asked).rpm == 90
    assert bench.draw(1, QuotaLimits(requests_per_minute=60)).rpm == 90


def test_a_quota_paused_by_hand_stays_so_until_it_is_resumed(bench: Bench) -> None:
    limits = QuotaLimits(requests_per_minute=60)
    bench.store.pause("q")
    bench.pass_time(10**9)
    assert bench.draw(1, limits).binding == "paused"
    bench.store.resume("q")
    assert len(bench.draw(1, limits).slots_ms) == 1


def test_a_halved_limit_waits_until_the_window_has_room(bench: Bench) -> None:
    calls: list[tuple[int, int]] = []
    limits = QuotaLimits(requests_per_minute=600)
    for half_second in range(300):
        if half_second == 140:
            bench.store.set("q", QuotaLimits(requests_per_minute=300))
        calls += [(bench.now - START_MS + slot, 0) for slot in bench.draw(10, limits).slots_ms]
        bench.pass_time(500)
    after = [call for call in calls if call[0] > 71_000]
    assert after[0][0] > 90_000, "nothing goes until the window has room"
    assert most_in_a_minute(after)[0] <= 300


def test_midnights_are_pacific_through_the_change_of_clocks() -> None:
    spring = 1_772_928_000_000  # 2026-03-08 00:00 UTC, the evening before clocks go forward
    first, second, third = pacific.pacific_days(spring)
    assert (second - first, third - second) == (24 * 3_600_000, 23 * 3_600_000)
    assert first <= spring < second
