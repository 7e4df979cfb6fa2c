"""Loaded in a worker of the suite: it kills itself, children and all, at the n-th passing of a place in the code.

FAULT_POINT names the place, FAULT_PASSING says n. Other faults inside a worker are here too: FAULT_CLOCK_S shifts its
clock. Without these variables nothing is changed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any


class _Death:
    """Counts passings; the n-th is the last."""

    def __init__(self, passing: int) -> None:
        self._left = passing
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                os.killpg(os.getpgrp(), signal.SIGKILL)
                signal.pause()


def before(
    owner: Any, name: str, die: Callable[[], None], when: Callable[..., bool] = lambda *_: True
) -> None:
    inner = getattr(owner, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        if when(*args):
            die()
        return inner(*args, **options)

    setattr(owner, name, wrapped)


def after(
    owner: Any, name: str, die: Callable[[], None], when: Callable[[Any], bool] = lambda _: True
) -> None:
    inner = getattr(owner, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        value = inner(*args, **options)
        if when(value):
            die()
        return value

    setattr(owner, name, wrapped)


def _all_settled(walk: Any, spec: Any) -> bool:
    record = walk.jobs.record(spec.id)
    return bool(record.pending + record.processing == 0)


def _set(point: str, die: Callable[[], None]) -> None:
    from batchq.broker import backend, transport
    from batchq.flow import advance, process
    from batchq.store.events import EventStore
    from batchq.store.jobs import JobStore

    match point:
        case "taken":  # popped from its queue, begun nowhere yet
            before(
                transport.Bulk, "_deliver_all", die, lambda _self, _raw, queue: not queue.endswith("control")
            )
        case "claimed":  # leased and marked as begun, not sent
            before(process, "ask", die)
        case "answered":
            before(process, "_settle", die)
        case "settled":  # not acknowledged
            after(process, "_settle", die)
        case "counted":  # the wave's last item is counted, its callback not published
            after(backend.CountsWaves, "_count", die, any)
        case "finishing":  # everything is settled, the end not begun
            before(advance, "finish", die, _all_settled)
        case "committing":  # between begin and commit of the end
            before(JobStore, "finish_commit", die)
        case "told":  # a webhook has taken the event, which is still to be taken off
            before(EventStore, "take_off", die)
        case _:
            raise ValueError(f"FAULT_POINT={point} is no place")


def _shift_clock(by_s: float) -> None:
    """The worker's clock is wrong from its start; the steady one is not, as after a jump."""
    true = time.time
    time.time = lambda: true() + by_s


if point := os.environ.get("FAULT_POINT"):
    _set(point, _Death(int(os.environ.get("FAULT_PASSING", "1"))))
if shift := os.environ.get("FAULT_CLOCK_S"):
    _shift_clock(float(shift))
