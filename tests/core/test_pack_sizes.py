"""How large packs are, and how what a pack used is divided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchq.core.packs import even_share, most_after, shares
from batchq.core.window import in_packs


@given(limit=st.integers(1, 10_000), most=st.integers(1, 100))
def test_whole_packs_use_a_limit_up(limit: int, most: int) -> None:
    size = even_share(limit, most)
    assert 1 <= size <= most
    assert size <= limit
    assert limit % size < -(-limit // most), "less than one for each pack is left"


@pytest.mark.parametrize(("limit", "size"), [(60, 60), (150, 75), (3_000, 100), (1, 1), (130, 65)])
def test_packs_of_a_limit(limit: int, size: int) -> None:
    assert even_share(limit, 100) == size


def test_failures_make_packs_smaller_and_the_last_attempt_lonely() -> None:
    assert [most_after(attempts, 0, 5, 100) for attempts in range(6)] == [100, 25, 6, 1, 1, 1]
    assert [most_after(0, limited, 5, 100) for limited in (0, 1, 2, 9)] == [100, 50, 25, 1]
    assert most_after(0, 0, 1, 100) == 100, "the first attempt is never alone for being the last"


@given(total=st.integers(0, 10**9), weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=100))
def test_shares_come_to_the_total(total: int, weights: list[int]) -> None:
    parts = shares(total, weights)
    assert sum(parts) == (total if any(weights) else 0)
    assert all(part >= 0 for part in parts)


def test_a_window_of_packs_has_one_that_waits() -> None:
    assert in_packs(125, 100, 1_600) == 300
    assert in_packs(5_000, 100, 1_600) == 1_600
