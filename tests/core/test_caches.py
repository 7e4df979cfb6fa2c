"""What many ask for at once is made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from batchq.flow.caches import Lru


def test_what_many_ask_for_at_once_is_made_once() -> None:
    cache: Lru[str, object] = Lru(10)
    asked, go, made = threading.Barrier(9), threading.Event(), []

    def make() -> object:
        go.wait(10)
        made.append(object())
        return made[-1]

    def ask() -> object:
        asked.wait(10)
        return cache.get("a", make)

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask) for _ in range(8)]
        asked.wait(10)
        go.set()
        assert {id(answer.result(10)) for answer in answers} == {id(made[0])}
    assert len(made) == 1


def test_who_waited_for_what_failed_tries_it_anew() -> None:
    cache: Lru[str, int] = Lru(10)
    begun, fail = threading.Event(), threading.Event()

    def broken() -> int:
        begun.set()
        fail.wait(10)
        raise LookupError

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "a", broken)
        assert begun.wait(10)
        second = pool.submit(cache.get, "a", lambda: 1)
        fail.set()
        with pytest.raises(LookupError):
            first.result(10)
        assert second.result(10) == 1


def test_the_least_recently_used_goes_first_by_weight() -> None:
    cache: Lru[str, str] = Lru(10, len)
    for key in ("a", "b"):
        cache.get(key, lambda: "four")
    assert cache.get("a", str) == "four"
    cache.get("c", lambda: "four")
    assert cache.get("b", lambda: "again") == "again", "it had gone"
    cache.drop("b")
    assert cache.get("b", lambda: "anew") == "anew"
