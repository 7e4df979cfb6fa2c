"""Calls under way in this process: each ends at its deadline, all of them when the process has to go.

How a call can be ended depends on what runs it. A greenlet is thrown out of whatever it waits for. In the main
thread (prefork's children) an alarm interrupts even code that computes. A thread cannot be stopped: the call runs in
a helper thread that is left to itself, and its item goes on without it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

Value = TypeVar("Value")


class TimedOut(BaseException):
    """The call's time is over. No Exception, so that an operation's own handling does not take it for an error."""


class CutShort(BaseException):
    """The process is stopping and has waited for its calls for as long as it may."""


class _Helped:
    """A call in a helper thread."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self.cut = False

    def end(self) -> None:
        self.cut = True
        self.done.set()


class _Greenlet:
    """A call in the greenlet that waits for it."""

    __slots__ = ("_hub", "_me", "under_way")

    def __init__(self, hub: Any, me: Any) -> None:
        self._hub, self._me, self.under_way = hub, me, True

    def end(self) -> None:
        self._hub.loop.run_callback(self._throw)

    def _throw(self) -> None:
        if self.under_way:  # still, now that its turn has come
            self._me.throw(CutShort)


class Calls:
    """`end` of one under way makes it raise CutShort where it is waited for."""

    def __init__(self) -> None:
        self._under_way: set[_Helped | _Greenlet] = set()
        self._helpers: deque[SimpleQueue[tuple[_Helped, Callable[[], Any]]]] = deque()
        self._over = threading.Event()

    @property
    def over(self) -> bool:
        """Whether the process has waited long enough."""
        return self._over.is_set()

    def end_all(self) -> None:
        """No call goes on; those under way raise CutShort."""
        self._over.set()
        for call in list(self._under_way):
            call.end()

    def run(self, what: Callable[[], Value], timeout_s: float) -> Value:
        """What `what` returns or raises. Raises TimedOut and CutShort."""
        if self._over.is_set():
            raise CutShort
        if _on_gevent():
            return self._in_greenlet(what, timeout_s)
        if threading.current_thread() is threading.main_thread():
            return _under_alarm(what, timeout_s)
        return self._in_helper(what, timeout_s)

    def _in_greenlet(self, what: Callable[[], Value], timeout_s: float) -> Value:
        import gevent

        call = _Greenlet(gevent.get_hub(), gevent.getcurrent())
        self._under_way.add(call)
        try:
            with gevent.Timeout(timeout_s, TimedOut):
                return what()
        finally:
            call.under_way = False
            self._under_way.discard(call)

    def _in_helper(self, what: Callable[[], Value], timeout_s: float) -> Value:
        call = _Helped()
        self._under_way.add(call)
        try:
            self._helper().put((call, what))
            ended = call.done.wait(timeout_s)
        finally:
            self._under_way.discard(call)
        if call.cut:
            raise CutShort
        if not ended:
            raise TimedOut
        if call.error is not None:
            raise call.error
        value: Value = call.value
        return value

    def _helper(self) -> SimpleQueue[tuple[_Helped, Callable[[], Any]]]:
        """A thread that waits for work, an old one if there is one: operations keep connections by thread."""
        try:
            return self._helpers.pop()
        except IndexError:
            inbox: SimpleQueue[tuple[_Helped, Callable[[], Any]]] = SimpleQueue()
            threading.Thread(target=self._help, args=(inbox,), name="batchq call", daemon=True).start()
            return inbox

    def _help(self, inbox: SimpleQueue[tuple[_Helped, Callable[[], Any]]]) -> None:
        while True:
            call, what = inbox.get()
            try:
                call.value = what()
            except BaseException as exc:
                call.error = exc
            call.done.set()
            del call, what
            self._helpers.append(inbox)


def _under_alarm(what: Callable[[], Value], timeout_s: float) -> Value:
    def ring(*_: object) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        return what()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _on_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))
