"""What a worker process keeps of jobs is bounded, whatever their number and size."""

from __future__ import annotations

from batchq.flow.walk import Lru


def test_the_least_recently_used_goes_first() -> None:
    cache: Lru[str, str] = Lru(2)
    for name in ("a", "b", "a", "c"):
        cache.get(name, lambda name=name: name)
    read: list[str] = []
    for name in ("a", "c", "b"):
        cache.get(name, lambda name=name: read.append(name) or name)
    assert read == ["b"]


def test_what_is_kept_weighs_no_more_than_it_may_save_one_entry() -> None:
    cache: Lru[int, bytes] = Lru(100, len)
    for number in range(50):
        cache.get(number, lambda: b"x" * 30)
    again: list[int] = []
    for number in reversed(range(50)):
        cache.get(number, lambda number=number: again.append(number) or b"x" * 30)
    assert len(again) == 47, "three of 30 fit into 100"
    assert cache.get(99, lambda: b"x" * 500) == b"x" * 500, "a larger one is kept alone"
    assert cache.get(99, lambda: b"other") == b"x" * 500
