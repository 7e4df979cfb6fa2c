"""How many items are in flight: no more than is needed, nothing where nobody works, and shares by weight."""

from __future__ import annotations

import pytest

from batchq.core.window import fleet_window, share, weight_of, weight_within


@pytest.mark.parametrize("rate", [None, 100.0])
def test_nothing_goes_out_to_a_queue_that_nobody_consumes(rate: float | None) -> None:
    assert fleet_window(0, rate, 1.0) == 0
    assert share(0, "a", {"a": 1.0}) == 0


def test_a_window_is_at_most_twice_the_slots_whatever_the_quota_allows() -> None:
    assert fleet_window(10, 4_000.0, 20.0) == 20
    assert fleet_window(10, None, None) == 20


def test_a_window_covers_the_calls_that_a_rate_keeps_under_way() -> None:
    assert fleet_window(1_000, 100.0, 2.0) == 100 * 2 + 150


def test_a_new_small_job_has_its_share_beside_a_thousand_others() -> None:
    others = {f"job-{number}": weight_of(5) for number in range(1_000)}
    assert share(400, "new", {**others, "new": weight_of(5)}) == 1, "never nothing"
    assert share(400, "new", {"huge": weight_of(5), "new": weight_of(5)}) == 200
    assert share(300, "new", {"huge": weight_of(5), "new": weight_of(10)}) == 200, "10 gets twice what 5 gets"


@pytest.mark.parametrize("window", range(1, 200))
def test_priorities_hold_in_small_windows_too(window: int) -> None:
    weights = {"usual": weight_of(5), "urgent": weight_of(10), "last": weight_of(1)}
    usual, urgent, last = (share(window, one, weights) for one in weights)
    assert 1.5 <= urgent / usual <= 2.5
    assert last <= usual <= 2 * last
    assert window - 3 <= usual + urgent + last <= max(8, window + 8), "and little more than is needed"


def settled(nominal: dict[str, float], parts: dict[str, float]) -> dict[str, float]:
    """What each lane has of the window once all have looked at each other a few times."""
    weights = dict(nominal)
    for _ in range(30):
        for lane in weights:
            others = sum(weights.values()) - weights[lane]
            weights[lane] = weight_within(nominal[lane], parts[lane], others)
    return {lane: weight / sum(weights.values()) for lane, weight in weights.items()}


def test_what_a_lane_with_a_limit_of_its_own_cannot_use_is_the_others() -> None:
    few = settled({"limited": 2.0, "free": 1.0}, {"limited": 0.2, "free": 1.0})
    assert few == pytest.approx({"limited": 0.2, "free": 0.8})
    three = settled(dict.fromkeys("abc", 1.0), {"a": 0.2, "b": 0.2, "c": 1.0})
    assert three == pytest.approx({"a": 0.2, "b": 0.2, "c": 0.6})
    wide = settled({"limited": 1.0, "free": 1.0}, {"limited": 0.7, "free": 1.0})
    assert wide == pytest.approx({"limited": 0.5, "free": 0.5}), "its limit is above its share"
    tiny = settled({"limited": 1.0, "free": 1.0}, {"limited": 0.001, "free": 1.0})
    assert tiny["free"] > 0.98
    alike = settled({"a": 2.0, "b": 1.0}, {"a": 0.1, "b": 0.1})
    assert alike == pytest.approx({"a": 2 / 3, "b": 1 / 3}), "none has the window to itself"
    assert weight_within(1.0, 0.1, 0.0) == 1.0, "alone"
