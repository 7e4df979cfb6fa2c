"""The part of a worker process that draws permits and hands them out, in order, at their slots.

A gate stands before one sequence of quotas (a job's own, its queue's, its model's), which are drawn together in
one call. Permits come in blocks for all who wait; what became of earlier ones goes back along with the next draw.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from batchq.core.discreet import trace_of
from batchq.core.limits import QuotaLimits
from batchq.core.permits import HOLDS, Asked, Granted
from batchq.core.ring import BUCKET_MS, TURN_S, VALID_MS
from batchq.errors import BatchqError
from batchq.flow.holds import Holds
from batchq.flow.permit import News, Permit, TooLarge, TooLong
from batchq.store.quotas import QuotaStore

log = logging.getLogger("batchq")

AHEAD_MS = 1_000  # how far ahead of now a block reaches
PAUSE_S = 0.6  # between two draws of a busy quota, about: who always comes just after another finds nothing
JITTER = (0.8, 1.2)
QUICK_S = 0.02  # … of one that gives all that is asked at once
USED_UP = 0.7  # part of a block's time after which the next one is drawn
DRAWN_AHEAD_S = 0.2  # a fleet whose next slot lies so far ahead loses none while one worker pauses
BLOCK = 500  # permits a draw at most
SLICE_S = 0.25  # every wait ends in slices, so that a shutdown is noticed
LONGEST_S = 1.0  # between two looks at a quota that is held: what a person changes is seen
LATE_S = VALID_MS / 1000  # after its slot a permit is void


@dataclass(slots=True, eq=False)
class _Waiter:
    tokens: int
    usual: int  # tokens it needs, if it is as most are
    size: int  # requests
    keeps_turn: bool = False  # what comes free is kept for it: it stays until it has its slot
    go: threading.Event = field(default_factory=threading.Event)
    slot_at: float | None = None  # monotonic
    buckets: tuple[int, ...] = ()
    refusal: TooLong | TooLarge | None = None


class Gate:
    """One sequence of quotas in one process. `stopping` ends every wait; `workers` are the processes alive."""

    def __init__(
        self,
        quotas: Sequence[str],
        confs: Sequence[QuotaLimits],
        store: QuotaStore,
        owner: str,
        holds: Holds,
        *,
        workers: Callable[[], int],
        stopping: Callable[[], bool],
    ) -> None:
        self.quotas, self._confs = tuple(quotas), tuple(confs)
        self._place = " ".join(quotas)  # a job's or a queue's own limit holds up no others of the same model
        self._store, self._owner, self._holds = store, owner, holds
        self._workers, self._stopping = workers, stopping
        self._lock = threading.Lock()
        self._queue: deque[_Waiter] = deque()
        self._wake = threading.Event()
        self._drawing = False
        self._registered = False
        self._news = self._no_news()
        self._drew_at: float | None = None  # monotonic
        self._clocks_ms: tuple[int, ...] = ()
        self._rpm = 0
        self._binding = ""
        self._idle = False  # nobody waited at the last draw
        self._flight_counts = any(limits.concurrency is not None for limits in confs)

    # -- for the tasks --------------------------------------------------------------------------------------

    def wait(
        self, patience_s: float, tokens: int = 0, usual: int = 0, size: int = 1
    ) -> Permit | TooLong | TooLarge:
        """Wait for a permit, at most `patience_s`. `tokens` is what is drawn, `usual` what is likely needed; `size` is
        how many requests the provider will count."""
        started = time.monotonic()
        waiter = _Waiter(tokens, usual or tokens, size)
        if not self._holds.enter(self._place):
            return TooLong(self._estimate_ms(), 0, self._binding)
        try:
            return self._waited(waiter, started, patience_s)
        finally:
            self._holds.leave(self._place)

    def _waited(self, waiter: _Waiter, started: float, patience_s: float) -> Permit | TooLong | TooLarge:
        def waited_ms() -> int:
            return int((time.monotonic() - started) * 1000)

        first = True
        while True:
            held_ms, why = self._holds.held(self.quotas)
            if held_ms > (started + patience_s - time.monotonic()) * 1000:
                return TooLong(held_ms, waited_ms(), why)
            self._enter(waiter, at_head=not first)
            first = False
            if not self._await(waiter, started + patience_s, started + TURN_S):
                refusal = waiter.refusal
                if isinstance(refusal, TooLarge):
                    return refusal
                due_ms = refusal.due_ms if refusal else self._estimate_ms()
                return TooLong(due_ms, waited_ms(), refusal.binding if refusal else self._binding)
            if self._reached(waiter):
                return Permit(waited_ms(), waiter.buckets, waiter.tokens, waiter.size)
            self._give_back(waiter)  # void: too late for its slot, or the quota is held since

    def done(self, permit: Permit, tokens: int | None, *, answered: bool) -> None:
        """The call ended. `tokens` is its input as the provider counted it, None where it did not say."""
        change = tokens - permit.tokens if tokens is not None and permit.tokens else 0
        self._tell(permit.buckets, 0, change, answered)

    def take_answered(self) -> int:
        """Calls answered that the store has not heard of yet: the caller tells it."""
        with self._lock:
            answered, self._news.succeeded = self._news.succeeded, 0
            return answered

    def unused(self, permit: Permit) -> None:
        """No call was made: the permit goes back."""
        self._tell(permit.buckets, -permit.size, -permit.tokens, False)

    # -- waiting --------------------------------------------------------------------------------------------

    def _enter(self, waiter: _Waiter, *, at_head: bool) -> None:
        with self._lock:
            waiter.go.clear()
            waiter.slot_at = waiter.refusal = None
            if at_head:
                self._queue.appendleft(waiter)  # it has waited already
            else:
                self._queue.append(waiter)
            self._start()

    def _start(self) -> None:
        """Have somebody draw. Under the lock."""
        if not self._drawing:
            self._drawing = True
            threading.Thread(target=self._draw, name=f"gate {self.quotas[-1]}", daemon=True).start()
        elif len(self._queue) == 1:
            self._wake.set()

    def _await(self, waiter: _Waiter, deadline: float, end_of_turn: float) -> bool:
        """True: a slot is ours. Whoever gives up while a slot is being handed over keeps the slot."""
        while not waiter.go.wait(min(SLICE_S, max(0.001, deadline - time.monotonic()))):
            if waiter.keeps_turn:
                deadline = max(deadline, end_of_turn)
            if time.monotonic() < deadline and not self._stopping():
                continue
            with self._lock:
                if waiter in self._queue:
                    self._queue.remove(waiter)
                    return False
        return waiter.slot_at is not None

    def _reached(self, waiter: _Waiter) -> bool:
        assert waiter.slot_at is not None
        while (left := waiter.slot_at - time.monotonic()) > 0:
            time.sleep(min(SLICE_S, left))
        return time.monotonic() - waiter.slot_at <= LATE_S and self._holds.held(self.quotas)[0] == 0

    def _give_back(self, waiter: _Waiter) -> None:
        self._tell(waiter.buckets, -waiter.size, -waiter.tokens, False)

    def _tell(self, buckets: Sequence[int], requests: int, tokens: int, answered: bool) -> None:
        with self._lock:
            self._news.freed += 1
            self._news.succeeded += answered
            if requests or tokens:
                for quota, bucket in enumerate(buckets):
                    self._news.correct(quota, bucket, requests, tokens)
            self._start()
            if self._binding == "concurrency" and self._queue:
                self._wake.set()

    def _estimate_ms(self) -> int:
        """Until the last who waits here has gone, about."""
        held_ms = self._holds.held(self.quotas)[0]
        share = self._rpm / max(1, self._workers())
        return max(1_000, held_ms, int(len(self._queue) * 60_000 / share) if share else 0)

    # -- drawing --------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Runs while somebody waits or there is something to tell."""
        next_at: float | None = 0.0
        while next_at is not None:
            self._pause(next_at)
            try:
                next_at = self._draw_once()
            except Exception as exc:
                # Whatever it was: without its drawer the gate would let nothing of its quotas pass, for good.
                known = isinstance(exc, BatchqError)
                log.log(
                    logging.DEBUG if known else logging.ERROR, "gate %s: %s", self.quotas[-1], trace_of(exc)
                )
                if self._stopping():
                    with self._lock:
                        self._drawing = False
                    return
                next_at = time.monotonic() + SLICE_S

    def _draw_once(self) -> float | None:
        """When to draw again (monotonic); None: nobody waits and there is nothing to tell."""
        most = self._block()
        with self._lock:
            if not self._queue and not self._news:
                self._drawing = False
                return None
            waiters = list(islice(self._queue, most))
            news, self._news = self._news, self._no_news()
        try:
            granted = self._ask(waiters, news)
        except BaseException:
            self._remember(news)
            raise
        return (self._drew_at or 0.0) + self._hand_out(waiters, granted)

    def _pause(self, until: float) -> None:
        """Until the time has come, or somebody new is alone in the queue, or a call in flight ended."""
        self._wake.clear()
        while (left := until - time.monotonic()) > 0:
            if self._wake.wait(min(SLICE_S, left)):
                self._wake.clear()
                if self._binding == "concurrency" or self._idle or left > PAUSE_S * JITTER[1]:
                    time.sleep(min(left, QUICK_S / 2))
                    return
            if self._stopping() and self._news:
                return

    def _ask(self, waiters: Sequence[_Waiter], news: News) -> Granted:
        if not self._registered:
            self._store.register(self.quotas)
            self._registered = True
        now = time.monotonic()
        asked = Asked(
            owner=self._owner,
            costs=tuple(waiter.tokens for waiter in waiters),
            ahead_ms=AHEAD_MS,
            day_ends=self._store.day_ends(),
            expected_ms=self._expected(now),
            freed=news.freed,
            succeeded=news.succeeded,
            sizes=tuple(waiter.size for waiter in waiters),
            gate=self._place,
        )
        granted = self._store.draw(
            self.quotas, self._confs, asked, [list(mine.values()) for mine in news.corrections]
        )
        self._drew_at, self._clocks_ms = now, granted.clocks_ms
        return granted

    def _expected(self, now: float) -> tuple[int, ...]:
        """What the quotas' clocks should show; measured from before the last draw, so that it is never too little."""
        if self._drew_at is None:
            return ()
        return tuple(clock + int((now - self._drew_at) * 1000) for clock in self._clocks_ms)

    def _remember(self, news: News) -> None:
        with self._lock:
            self._news.freed += news.freed
            self._news.succeeded += news.succeeded
            for quota, corrections in enumerate(news.corrections):
                for one in corrections.values():
                    self._news.correct(quota, one.bucket, one.requests, one.tokens)

    def _block(self) -> int:
        """This process's part of what goes ahead of now, with some to spare: else one worker hoards."""
        if not self._rpm:
            return BLOCK
        share = self._rpm / 60_000 * AHEAD_MS / max(1, self._workers())
        return max(1, min(BLOCK, math.ceil(1.2 * share)))

    def _hand_out(self, waiters: Sequence[_Waiter], granted: Granted) -> float:
        """Give the slots to those they were drawn for. Returns the seconds to the next draw, from the last."""
        now = time.monotonic()
        lost: list[_Waiter] = []
        with self._lock:
            self._rpm, self._binding, self._idle = granted.rpm, granted.binding, not waiters
            self._flight_counts |= granted.binding == "concurrency"
            for waiter, slot in zip(waiters, granted.slots_ms, strict=False):
                waiter.buckets = tuple((clock + slot) // BUCKET_MS for clock in granted.clocks_ms)
                if waiter not in self._queue:
                    lost.append(waiter)  # it gave up meanwhile
                    continue
                self._queue.remove(waiter)
                waiter.slot_at = now + slot / 1000
                waiter.go.set()
            if granted.binding == "too_large":
                self._refuse_large(waiters[0], granted)
            elif waiters and not granted.slots_ms:
                waiters[0].keeps_turn = granted.binding in ("tokens_per_minute", "reserved") or (
                    granted.binding == "requests_per_minute" and waiters[0].size > 1
                )
        for waiter in lost:
            self._give_back(waiter)
        if granted.binding in HOLDS:
            self._learn_hold(granted)
            return min(LONGEST_S, granted.wait_ms / 1000)
        if not granted.wait_ms:
            if self._idle:  # there were only news, and somebody may wait elsewhere for a call to end
                return QUICK_S if self._flight_counts else PAUSE_S
            return self._after_block(granted.slots_ms)
        if granted.binding == "concurrency":
            return granted.wait_ms / 1000
        return min(LONGEST_S, max(self._pause_s(), granted.wait_ms / 1000))

    def _after_block(self, slots_ms: Sequence[int]) -> float:
        """To the next draw where all was given that was asked: before the last of it has gone."""
        if not slots_ms:
            return QUICK_S
        if slots_ms[0] >= DRAWN_AHEAD_S * 1000 and self._workers() > 1:
            return self._pause_s()
        return min(PAUSE_S, max(QUICK_S, USED_UP * slots_ms[-1] / 1000))

    @staticmethod
    def _pause_s() -> float:
        return PAUSE_S * random.uniform(*JITTER)

    def _refuse_large(self, waiter: _Waiter, granted: Granted) -> None:
        """One whose upper estimate alone is too large is drawn as the whole minute. Under the lock."""
        if waiter not in self._queue:
            return
        if waiter.usual <= granted.limit:
            waiter.tokens = granted.limit
            return
        self._queue.remove(waiter)
        waiter.refusal = TooLarge(self.quotas[granted.bound], granted.limit, waiter.usual)
        waiter.go.set()

    def _learn_hold(self, granted: Granted) -> None:
        """Nothing goes for a while: whoever has not the patience for it may leave now."""
        self._holds.learn(self.quotas[granted.bound], granted.wait_ms, granted.binding)
        if granted.wait_ms <= LONGEST_S * 1000:
            return
        with self._lock:
            waiting, self._queue = list(self._queue), deque()
            for waiter in waiting:
                waiter.refusal = TooLong(granted.wait_ms, 0, granted.binding)
                waiter.go.set()

    def _no_news(self) -> News:
        return News([{} for _ in self.quotas])
