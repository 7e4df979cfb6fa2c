"""Calls that meet within a moment are one; each caller gets its own answer, or the error."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from batchq.core.gather import LARGEST, Gather


def in_threads(n: int, what: object) -> None:
    threads = [threading.Thread(target=what, args=(number,)) for number in range(n)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "somebody was never woken"


def test_every_caller_gets_its_own_answer_and_groups_form_while_one_is_under_way() -> None:
    sizes: list[int] = []
    first_in = threading.Event()
    go_on = threading.Event()

    def commit(requests: Sequence[int]) -> Sequence[int]:
        sizes.append(len(requests))
        if len(sizes) == 1:
            first_in.set()
            assert go_on.wait(10)
        return [request * 2 for request in requests]

    gather: Gather[int, int] = Gather(commit)
    answers: dict[int, int] = {}
    leader = threading.Thread(target=lambda: answers.update({-1: gather(-1)}))
    leader.start()
    assert first_in.wait(10)

    def call(number: int) -> None:
        if number == 99:
            go_on.set()
        answers[number] = gather(number)

    in_threads(100, call)
    leader.join(10)
    assert answers == {number: number * 2 for number in range(-1, 100)}
    assert sum(sizes) == 101
    assert max(sizes) <= LARGEST
    assert len(sizes) < 60, "callers were taken along"


def test_an_error_reaches_everybody_of_the_group_and_nobody_else() -> None:
    def commit(requests: Sequence[int]) -> Sequence[int]:
        if 13 in requests:
            raise ValueError("unlucky")
        return requests

    gather: Gather[int, int] = Gather(commit)
    with pytest.raises(ValueError, match="unlucky"):
        gather(13)
    assert gather(1) == 1
    seen: list[str] = []

    def call(number: int) -> None:
        try:
            seen.append(str(gather(number)))
        except ValueError:
            seen.append("error")

    in_threads(50, call)
    assert len(seen) == 50
    assert "error" in seen


def test_a_leader_that_is_killed_hands_the_lead_on() -> None:
    class Killed(BaseException):
        pass

    calls = 0

    def commit(requests: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Killed
        return requests

    gather: Gather[int, int] = Gather(commit)
    with pytest.raises(Killed):
        gather(1)
    assert gather(2) == 2
