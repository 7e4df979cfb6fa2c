"""The permits of one quota, on the store's clock: paced, never over in any rolling minute, held when told."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchq.store.database import Database
from batchq.store.quotas import QuotaLimits, QuotaStore

START_MS = 1_800_000_000_000


@pytest.fixture
def quotas(database: Database) -> QuotaStore:
    database.now_ms = START_MS
    return QuotaStore(database)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rpm=st.sampled_from([1, 3, 15, 60, 600, 3_000]),
    asks=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_never_over_in_any_rolling_minute(
    quotas: QuotaStore, database: Database, rpm: int, asks: list[tuple[int, int]]
) -> None:
    database.command("FLUSHALL")
    database.now_ms = START_MS
    slots: list[int] = []
    for pause_ms, wanted in asks:
        database.now_ms += pause_ms
        drawn = quotas.draw("q", "me", wanted, QuotaLimits(requests_per_minute=rpm), 1_500)
        slots += [database.now_ms + slot for slot in drawn.slots_ms]
        assert drawn.slots_ms or drawn.wait_ms > 0
    for first in range(len(slots)):
        within = sum(1 for slot in slots[first:] if slot < slots[first] + 60_000)
        assert within <= rpm


def test_permits_are_paced_and_a_busy_quota_is_used_up(quotas: QuotaStore, database: Database) -> None:
    slots: list[int] = []
    assert database.now_ms is not None
    while database.now_ms < START_MS + 180_000:
        drawn = quotas.draw("q", "me", 50, QuotaLimits(requests_per_minute=600), 500)
        slots += [database.now_ms + slot for slot in drawn.slots_ms]
        database.now_ms += max(1, drawn.wait_ms)
    gaps = [later - earlier for earlier, later in pairwise(slots)]
    assert min(gaps) >= 99, "no bursts"
    used = sum(1 for slot in slots if START_MS + 60_000 <= slot < START_MS + 180_000)
    assert used >= 0.98 * 1200


def test_calls_in_flight_are_limited_and_freed(quotas: QuotaStore) -> None:
    limits = QuotaLimits(concurrency=3)
    assert len(quotas.draw("q", "a", 2, limits, 500).slots_ms) == 2
    assert len(quotas.draw("q", "b", 5, limits, 500).slots_ms) == 1
    refused = quotas.draw("q", "a", 1, limits, 500)
    assert (refused.slots_ms, refused.binding) == ((), "concurrency")
    quotas.free("q", "a")
    assert len(quotas.draw("q", "b", 5, limits, 500).slots_ms) == 1
    quotas.clear_owners("q", alive=["a"])
    assert len(quotas.draw("q", "a", 5, limits, 500).slots_ms) == 2, "what the dead process held is free"


def test_a_hold_stops_everybody_and_never_gets_shorter(quotas: QuotaStore, database: Database) -> None:
    assert quotas.hold("q", 5_000) == 5_000
    assert quotas.hold("q", 1_000) == 5_000
    drawn = quotas.draw("q", "a", 1, QuotaLimits(requests_per_minute=60), 500)
    assert (drawn.slots_ms, drawn.binding, drawn.wait_ms) == ((), "hold", 5_000)
    assert database.now_ms is not None
    database.now_ms += 5_001
    assert quotas.held_ms("q") == 0
    assert len(quotas.draw("q", "a", 1, QuotaLimits(requests_per_minute=60), 500).slots_ms) == 1
