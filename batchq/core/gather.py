"""Calls that meet within a moment go to the store as one. The leader commits.

The first caller runs its own script at once and takes along who came meanwhile; then it hands the lead on. Each
caller returns only when its own part is confirmed. A lone caller pays nothing; a busy process pays one round trip
for dozens.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Request = TypeVar("Request")
Reply = TypeVar("Reply")

LARGEST = 64  # of a group


@dataclass(slots=True)
class _Call(Generic[Request, Reply]):
    request: Request
    woken: threading.Event = field(default_factory=threading.Event)
    replies: list[Reply] = field(default_factory=list)
    error: BaseException | None = None
    leads: bool = False


class Gather(Generic[Request, Reply]):
    """`commit` takes the requests of a group and returns a reply for each, in order."""

    def __init__(self, commit: Callable[[Sequence[Request]], Sequence[Reply]]) -> None:
        self._commit = commit
        self._lock = threading.Lock()
        self._waiting: deque[_Call[Request, Reply]] = deque()
        self._led = False

    def __call__(self, request: Request) -> Reply:
        """Raises whatever the group's commit raised."""
        call: _Call[Request, Reply] = _Call(request)
        with self._lock:
            if self._led:
                self._waiting.append(call)
            else:
                self._led = call.leads = True
        if not call.leads:
            call.woken.wait()
        if call.leads:
            self._lead(call)
        if call.error is not None:
            raise call.error
        return call.replies[0]

    def _lead(self, own: _Call[Request, Reply]) -> None:
        group = [own]
        with self._lock:
            while self._waiting and len(group) < LARGEST:
                group.append(self._waiting.popleft())
        try:
            for call, reply in zip(group, self._commit([call.request for call in group]), strict=True):
                call.replies.append(reply)
        except BaseException as exc:  # a timeout may kill the leader: those it took along must learn of it
            for call in group:
                call.error = exc
        finally:
            self._hand_on()
            for call in group[1:]:
                call.woken.set()

    def _hand_on(self) -> None:
        with self._lock:
            if self._waiting:
                heir = self._waiting.popleft()
                heir.leads = True
            else:
                heir = None
                self._led = False
        if heir is not None:
            heir.woken.set()
