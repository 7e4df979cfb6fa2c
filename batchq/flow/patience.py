"""Redis may be away for a while. Workers wait for it with a clear message and go on by themselves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from batchq.errors import NotEnoughMemory, StoreUnavailable

Value = TypeVar("Value")

log = logging.getLogger("batchq")
FIRST_S, LONGEST_S = 0.1, 2.0
REPORT_EVERY_S = 10.0


class GaveUp(Exception):
    """The process is stopping; what it holds is healed by the others."""


def patiently(what: Callable[[], Value], stopping: Callable[[], bool]) -> Value:
    """Call until the store answers. Raises GaveUp when the process is to stop first."""
    pause = FIRST_S
    while True:
        try:
            return what()
        except (StoreUnavailable, NotEnoughMemory) as exc:
            if stopping():
                raise GaveUp from exc
            say("the job store", exc)
        time.sleep(pause)
        pause = min(LONGEST_S, pause * 2)


_last_said: dict[str, float] = {}


def say(awaited: str, why: object) -> None:
    """Once in a while for the whole process, not once for each item that waits."""
    now = time.monotonic()
    if now - _last_said.get(awaited, -REPORT_EVERY_S) > REPORT_EVERY_S:
        _last_said[awaited] = now
        log.warning("waiting for %s: %s", awaited, why)
