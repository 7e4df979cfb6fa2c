"""The part of a worker process that draws permits of one quota and hands them out, in order, at their slots."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from batchq.errors import StoreUnavailable
from batchq.store.quotas import Drawn, QuotaLimits, QuotaStore

BLOCK = 50  # permits a draw at most
SLICE_S = 0.25  # every wait ends in slices, so that a shutdown is noticed
LATE_S = 0.5  # after its slot a permit is void
HOLD_CHECK_S = 0.5  # how long a process trusts that a quota is not held
PACED_RPM = 1_000  # slower quotas draw further ahead


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call."""

    waited_ms: int


@dataclass(frozen=True, slots=True)
class TooLong:
    """No permit within the patience; come back when it is due."""

    due_ms: int  # from now
    waited_ms: int
    binding: str


@dataclass(slots=True)
class _Waiter:
    go: threading.Event = field(default_factory=threading.Event)
    slot_at: float | None = None  # monotonic
    refused_ms: int | None = None  # the quota is held for so long


class Gate:
    """One quota in one process. `stopping` ends every wait; `max_waiting` bounds the slots that wait here."""

    def __init__(
        self,
        quota: str,
        limits: QuotaLimits,
        store: QuotaStore,
        owner: str,
        *,
        max_waiting: int,
        stopping: Callable[[], bool],
    ) -> None:
        self.quota, self.limits = quota, limits
        self._store, self._owner, self._stopping = store, owner, stopping
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._queue: deque[_Waiter] = deque()
        self._drawing = False
        self._held_until = 0.0  # monotonic
        self._binding = ""
        self._checked_at = 0.0
        rpm = limits.requests_per_minute
        self._ahead_ms = 500 if rpm is None or rpm >= PACED_RPM else 1_500
        self._gap_ms = 60_000 / rpm if rpm else 0.0

    def is_open(self) -> bool:
        """Whether a call may go at once: no limit, and no hold known."""
        return self.limits.unlimited and self.held_ms() == 0

    def held_ms(self) -> int:
        """How long the quota is held for the fleet, as this process knows it (checked twice a second)."""
        now = time.monotonic()
        if self._held_until <= now and now - self._checked_at > HOLD_CHECK_S:
            self._checked_at = now
            self.learn_hold(self._store.held_ms(self.quota))
        return max(0, int((self._held_until - now) * 1000))

    def learn_hold(self, for_ms: int) -> None:
        if for_ms > 0:
            self._held_until = max(self._held_until, time.monotonic() + for_ms / 1000)
            self._binding = "hold"

    def hold(self, for_ms: int) -> None:
        """A refusal was seen: nothing goes out for a while, on the whole fleet."""
        self.learn_hold(self._store.hold(self.quota, for_ms))

    def wait(self, patience_s: float) -> Permit | TooLong:
        """Wait for a permit, at most `patience_s`. Raises StoreUnavailable."""
        started = time.monotonic()

        def waited_ms() -> int:
            return int((time.monotonic() - started) * 1000)

        while True:
            held = self.held_ms()
            if held > patience_s * 1000:
                return TooLong(held, waited_ms(), "hold")
            if self.limits.unlimited:
                if held == 0:
                    return Permit(waited_ms())
                if self._stopping():
                    return TooLong(held, waited_ms(), "hold")
                time.sleep(min(SLICE_S, held / 1000))
                continue
            waiter = self._enter()
            if waiter is None:
                return TooLong(self._estimate_ms(), waited_ms(), self._binding)
            if not self._await(waiter, started + patience_s):
                return TooLong(waiter.refused_ms or self._estimate_ms(), waited_ms(), self._binding)
            if self._reached(waiter):
                return Permit(waited_ms())
            self.done()  # void: too late for its slot; draw another

    def done(self) -> None:
        """The call ended; its place among the calls in flight is free."""
        if self.limits.concurrency is not None:
            self._store.free(self.quota, self._owner)

    def _enter(self) -> _Waiter | None:
        with self._lock:
            if len(self._queue) >= self._max_waiting:
                return None
            waiter = _Waiter()
            self._queue.append(waiter)
            if not self._drawing:
                self._drawing = True
                threading.Thread(target=self._draw, name=f"gate {self.quota}", daemon=True).start()
            return waiter

    def _await(self, waiter: _Waiter, deadline: float) -> bool:
        """True: a slot is ours. Whoever gives up while a slot is being handed over keeps the slot."""
        while not waiter.go.wait(SLICE_S):
            if time.monotonic() < deadline and not self._stopping():
                continue
            with self._lock:
                if waiter in self._queue:
                    self._queue.remove(waiter)
                    return False
        return waiter.slot_at is not None

    def _reached(self, waiter: _Waiter) -> bool:
        assert waiter.slot_at is not None
        time.sleep(max(0.0, waiter.slot_at - time.monotonic()))
        return time.monotonic() - waiter.slot_at <= LATE_S

    def _estimate_ms(self) -> int:
        return max(
            1_000, int(len(self._queue) * self._gap_ms), int((self._held_until - time.monotonic()) * 1000)
        )

    def _draw(self) -> None:
        """Runs while somebody waits: one draw for all who wait, then their slots in order."""
        while True:
            with self._lock:
                if not self._queue:
                    self._drawing = False
                    return
                wanted = min(BLOCK, len(self._queue))
            try:
                drawn = self._store.draw(self.quota, self._owner, wanted, self.limits, self._ahead_ms)
            except StoreUnavailable:
                time.sleep(SLICE_S)
                continue
            self._hand_out(drawn)
            if not drawn.slots_ms:
                time.sleep(min(SLICE_S, drawn.wait_ms / 1000))

    def _hand_out(self, drawn: Drawn) -> None:
        now = time.monotonic()
        unused = 0
        with self._lock:
            self._binding = drawn.binding
            for slot in drawn.slots_ms:
                if not self._queue:
                    unused += 1
                    continue
                waiter = self._queue.popleft()
                waiter.slot_at = now + slot / 1000
                waiter.go.set()
            if drawn.binding == "hold":
                self._held_until = max(self._held_until, now + drawn.wait_ms / 1000)
                while self._queue:
                    waiter = self._queue.popleft()
                    waiter.refused_ms = drawn.wait_ms
                    waiter.go.set()
        if unused and self.limits.concurrency is not None:
            self._store.free(self.quota, self._owner, unused)
