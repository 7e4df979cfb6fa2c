"""Doubles among the ids of a submission, in little memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchq.core.idset import IdSet


@given(st.lists(st.text(max_size=3) | st.sampled_from("abc"), max_size=200))
def test_it_remembers_the_first_row_of_each_id_as_a_dict_does(ids: list[str]) -> None:
    seen, model = IdSet(), dict[str, int]()
    for row, id in enumerate(ids, 1):
        assert seen.add(id, row) == model.get(id)
        model.setdefault(id, row)
    assert len(seen) == len(model)


def test_nothing_is_lost_or_made_up_while_the_table_grows() -> None:
    seen = IdSet()
    for row in range(1, 20_001):
        assert seen.add(f"item-{row}", row) is None
    for row in range(1, 20_001):
        assert seen.add(f"item-{row}", 999_999) == row
    assert len(seen) == 20_000


def test_an_id_takes_at_most_forty_bytes() -> None:
    seen = IdSet()
    worst = 0.0
    for row in range(1, 100_001):
        seen.add(str(row), row)
        if row >= 1_000:
            worst = max(worst, seen.nbytes / row)
    assert worst <= 40


def test_rows_count_from_one() -> None:
    with pytest.raises(ValueError, match="rows count from 1"):
        IdSet().add("a", 0)
