"""A fork waits for the end of what must not be copied half-done, and the child can do it too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from batchq.core.forks import WholeBeforeFork


def in_child(what: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if what() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_fork_comes_after_what_was_begun_before_it() -> None:
    whole, begun, may_end, ended = WholeBeforeFork(), threading.Event(), threading.Event(), threading.Event()

    def publish() -> None:
        with whole:
            begun.set()
            may_end.wait(10)
            ended.set()

    thread = threading.Thread(target=publish)
    thread.start()
    begun.wait(10)
    threading.Timer(0.2, may_end.set).start()
    assert in_child(ended.is_set)
    thread.join()


def test_a_child_and_its_parent_go_on_as_before() -> None:
    whole = WholeBeforeFork()

    def enter() -> bool:
        with whole, whole:
            return True

    assert in_child(enter)
    assert in_child(lambda: in_child(enter))
    assert enter()
