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


class _Call:
    """One call under way. `end` makes it raise CutShort where it is waited for."""

    def __init__(self, end: Callable[[_Call], None]) -> None:
        self.end = end
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self.cut = False


class Calls:
    def __init__(self) -> None:
        self._under_way: set[_Call] = set()
        self._helpers: deque[SimpleQueue[tuple[_Call, Callable[[], Any]]]] = deque()
        self._over = threading.Event()

    @property
    def over(self) -> bool:
        """Whether the process has waited long enough."""
        return self._over.is_set()

    def end_all(self) -> None:
        """No call goes on; those under way raise CutShort."""
        self._over.set()
        for call in list(self._under_way):
            call.end(call)

    def run(self, what: Callable[[], Value], timeout_s: float) -> Value:
        """What `what` returns or raises. Raises TimedOut and CutShort."""
        if self.over:
            raise CutShort
        if _on_gevent():
            return self._in_greenlet(what, timeout_s)
        if threading.current_thread() is threading.main_thread():
            return _under_alarm(what, timeout_s)
        return self._in_helper(what, timeout_s)

    def _in_greenlet(self, what: Callable[[], Value], timeout_s: float) -> Value:
        import gevent

        me, loop = gevent.getcurrent(), gevent.get_hub().loop

        def throw(call: _Call) -> None:
            if call in self._under_way:  # still, now that its turn has come
                me.throw(CutShort)

        call = _Call(lambda call: loop.run_callback(throw, call))
        self._under_way.add(call)
        try:
            with gevent.Timeout(timeout_s, TimedOut):
                return what()
        finally:
            self._under_way.discard(call)

    def _in_helper(self, what: Callable[[], Value], timeout_s: float) -> Value:
        def cut(call: _Call) -> None:
            call.cut = True
            call.done.set()

        call = _Call(cut)
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

    def _helper(self) -> SimpleQueue[tuple[_Call, Callable[[], Any]]]:
        """A thread that waits for work, an old one if there is one: operations keep connections by thread."""
        try:
            return self._helpers.pop()
        except IndexError:
            inbox: SimpleQueue[tuple[_Call, Callable[[], Any]]] = SimpleQueue()
            threading.Thread(target=self._help, args=(inbox,), name="batchq call", daemon=True).start()
            return inbox

    def _help(self, inbox: SimpleQueue[tuple[_Call, Callable[[], Any]]]) -> None:
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
