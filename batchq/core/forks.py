"""Forks of a process with threads: what must not be copied half-done.

kombu and functools hold process-wide locks while they set things up. A fork in such a moment copies a lock that
nobody will ever release, and the child's first message would wait for ever. So a fork waits for the end of what is
under way, and what comes meanwhile waits for the fork.
"""

from __future__ import annotations

import os
import threading
import time

LONGEST_S = 5.0  # that a fork waits; a call that hangs for longer is not worth a hanging process


class WholeBeforeFork:
    """`with` it: what is done inside is done before a fork copies the process. Any number of threads at once."""

    def __init__(self) -> None:
        self._afresh()
        os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._afresh)

    def _afresh(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._forking = 0

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._forking, LONGEST_S)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def _close(self) -> None:
        give_up = time.monotonic() + LONGEST_S
        with self._changed:
            self._forking += 1
            while self._inside and time.monotonic() < give_up:
                self._changed.wait(0.1)

    def _open(self) -> None:
        with self._changed:
            self._forking -= 1
            self._changed.notify_all()


whole_before_fork = WholeBeforeFork()
