"""How many items are in flight: no more than is needed, nothing where nobody works, and shares by weight."""

from __future__ import annotations

import pytest

from batchq.core.window import fleet_window, share, weight_of


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
