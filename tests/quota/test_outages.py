"""A provider that is away for minutes costs no item its life, however few calls a fleet makes at once.

Time is made up: the quota's account, the window and the backoff are batchq's own, what happens between is walked here.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from quota_histories import holds, on_histories

from batchq.core import pacific, retry, window
from batchq.core.quota import Quota
from batchq.core.slowdown import PATIENCE_MS, outage_row

START_MS = 1_800_000_000_000
TICK_MS, CALL_MS = 100, 200
MAX_ATTEMPTS = 5
NEVER = 1 << 50


@dataclass
class Job:
    """Items of one fleet: what was tried and waits for its turn goes before what is fresh."""

    slots: int
    fresh: deque[int]
    dice: random.Random
    cursed: frozenset[int] = frozenset()  # items that are never answered
    quota: Quota = field(default_factory=Quota)
    attempts: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, int] = field(default_factory=dict)  # item -> when it is due
    calls: list[tuple[int, int]] = field(default_factory=list)  # (when it ends, item)
    dead: list[int] = field(default_factory=list)
    now: int = START_MS

    def run(self, away_from: int, away_until: int, for_ms: int = NEVER) -> int:
        """To its end, or for so long. The provider answers nobody between these two moments; how long it took."""
        while (self.fresh or self.waiting or self.calls) and self.now - START_MS < for_ms:
            self.quota.begin(self.now, pacific.pacific_days(self.now), "server", None)
            away = away_from <= self.now - START_MS < away_until
            for call in [one for one in self.calls if one[0] <= self.now]:
                self.calls.remove(call)
                self._ended(call[1], answered=not away and call[1] not in self.cursed)
            self._begin()
            self.now += TICK_MS
        return self.now - START_MS

    @property
    def window(self) -> int:
        return window.fleet_window(self.slots, None, None)

    def _ended(self, item: int, *, answered: bool) -> None:
        if answered:
            self.quota.hear(self.now, "fleet", 1, 1)
            return
        row = outage_row(self.window, MAX_ATTEMPTS)
        held_ms, charged = self.quota.fail(self.now, 0, row)
        self.quota.hear(self.now, "fleet", 1, 0)
        self.attempts[item] = self.attempts.get(item, 0) + charged
        if self.attempts[item] >= MAX_ATTEMPTS:
            self.dead.append(item)
            return
        backoff_ms = retry.backoff_ms(self.attempts[item], self.dice.random()) if charged else 0
        self.waiting[item] = self.now + max(backoff_ms, held_ms)

    def _begin(self) -> None:
        while self.fresh and len(self.waiting) + len(self.calls) < self.window:
            self.waiting[self.fresh.popleft()] = self.now
        due = sorted((at, item) for item, at in self.waiting.items() if at <= self.now)
        for _, item in due[: self.slots - len(self.calls)]:
            if self.quota.blocked(self.now, "gate", 1)[2] < 1:
                return
            self.quota.take("fleet", "gate", 1, 0, 0, self.quota.ring.tail)
            del self.waiting[item]
            self.calls.append((self.now + CALL_MS, item))


def job(slots: int, items: int, seed: int, cursed: int = 0) -> Job:
    return Job(slots, deque(range(items)), random.Random(seed), frozenset(range(items - cursed, items)))


@on_histories
def test_nobody_dies_of_an_outage_on_a_fleet_of_any_size(examples: int) -> None:
    @example(1, 0, PATIENCE_MS, 0)
    @example(2, 3_000, 60_000, 0)
    @given(st.integers(1, 30), st.integers(0, 5_000), st.integers(1_000, PATIENCE_MS), st.integers(0, 1_000))
    def of_any_size(slots: int, begins: int, lasts: int, seed: int) -> None:
        one = job(slots, 40 * slots, seed)
        took = one.run(begins, begins + lasts)
        assert one.dead == []
        assert took < begins + lasts + 30_000 + 40 * 2 * CALL_MS + 5_000, "it went on within one hold"

    holds(examples, of_any_size)


@pytest.mark.parametrize("slots", [1, 2, 20])
def test_an_item_that_is_never_answered_dies_within_its_backoffs(slots: int) -> None:
    one = job(slots, 100, 7, cursed=1)
    took = one.run(NEVER, NEVER)
    assert len(one.dead) == 1
    assert took < 100 * CALL_MS + 40_000


def test_items_that_are_never_answered_end_however_many_they_are() -> None:
    one = job(4, 20, 7, cursed=20)
    one.run(NEVER, NEVER, for_ms=24 * 3_600_000)
    assert len(one.dead) == 20
