"""Doubles among the ids of a submission, in little memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchq.errors import BatchqError
from batchq.flow import seen_ids
from batchq.flow.seen_ids import SeenIds

IDS = st.lists(st.text(max_size=3) | st.sampled_from("abc") | st.just("\ud800"), max_size=100)


@pytest.fixture(params=[0, 3, seen_ids.HELD])
def _held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_ids, "HELD", request.param)


@pytest.mark.usefixtures("_held")
@settings(max_examples=30)
@given(IDS)
def test_it_remembers_the_first_row_of_each_id_as_a_dict_does(ids: list[str]) -> None:
    with closing(SeenIds()) as seen:
        model: dict[str, int] = {}
        for row, id in enumerate(ids, 1):
            assert seen.add(id, row) == model.get(id)
            model.setdefault(id, row)


def test_nothing_is_lost_or_made_up_where_the_file_begins() -> None:
    ids = [f"item-{row}" for row in range(1, 2 * seen_ids.HELD)]
    with closing(SeenIds()) as seen:
        assert not any(seen.add(id, row) for row, id in enumerate(ids, 1))
        assert all(seen.add(id, 999_999) == row for row, id in enumerate(ids, 1))


def test_memory_does_not_grow_with_the_ids() -> None:
    with closing(SeenIds()) as seen:

        def add(numbers: range) -> int:
            for row in numbers:
                seen.add(f"{row:064d}", row)
            return psutil.Process().memory_info().rss

        early = add(range(1, 20_000))
        assert add(range(20_000, 80_000)) - early < 3_000_000


@pytest.fixture
def _small_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("_small_files")
def test_no_room_for_the_file_says_what_to_do() -> None:
    with closing(SeenIds()) as seen:

        def fill() -> None:
            for row in range(1, 50_000):
                seen.add(f"{row:064d}", row)

        with pytest.raises(BatchqError, match=r"free some space in .* TMPDIR"):
            fill()
