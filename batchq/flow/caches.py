"""What a process remembers of the store, so that it need not ask again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """A bounded cache; the least recently used goes first. `weigh` gives an entry's weight, default 1.

    What many ask for at once is made once: the others wait for it.
    """

    def __init__(self, most: int, weigh: Callable[[Value], int] = lambda _: 1) -> None:
        self._most, self._weigh = most, weigh
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._weight = 0
        self._making: dict[Key, threading.Event] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Raises what `make` raises; who waited for that tries it anew."""
        while True:
            try:
                self._entries.move_to_end(key)  # what is there needs no lock: each of these is one step
                return self._entries[key][0]
            except KeyError:
                pass
            with self._lock:
                made = self._making.get(key)
                if made is None:
                    if key in self._entries:  # made since we looked
                        continue
                    mine = self._making[key] = threading.Event()
                    break
            made.wait()
        try:
            value = make()
            self._keep(key, value)
        finally:
            del self._making[key]
            mine.set()
        return value

    def _keep(self, key: Key, value: Value) -> None:
        weight = self._weigh(value)
        with self._lock:
            self._entries[key] = (value, weight)
            self._weight += weight
            while self._weight > self._most and len(self._entries) > 1:
                _, (_, gone) = self._entries.popitem(last=False)
                self._weight -= gone

    def drop(self, key: Key) -> None:
        with self._lock:
            found = self._entries.pop(key, None)
            if found is not None:
                self._weight -= found[1]


class Timed(Generic[Value]):
    """A value read again when it is older than `max_age_s`. `last` is what was read, however old."""

    def __init__(self, max_age_s: float, read: Callable[[], Value]) -> None:
        self._max_age_s, self._read = max_age_s, read
        self.last: Value | None = None
        self._read_at = 0.0

    def get(self) -> Value:
        now = time.monotonic()
        if self.last is None or now - self._read_at > self._max_age_s:
            self.last = self._read()
            self._read_at = now
        return self.last
