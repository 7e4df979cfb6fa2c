"""When a window has room again, as its ring of buckets tells."""

from __future__ import annotations

from batchq.core.ring import BUCKET_MS, SPAN_MS, room_in_ms

NOW = 1_000_000
USED = {NOW // BUCKET_MS - 20: 30, NOW // BUCKET_MS - 10: 50, NOW // BUCKET_MS: 20}


def test_a_window_with_room_waits_for_nothing() -> None:
    assert room_in_ms(USED, 101, NOW) == 0
    assert room_in_ms({}, 1, NOW) == 0
    assert room_in_ms(USED, 1, NOW + 2 * SPAN_MS) == 0, "what is older counts no more"


def test_room_comes_as_the_oldest_leave() -> None:
    assert room_in_ms(USED, 100, NOW) == SPAN_MS - 19 * BUCKET_MS, "one of a hundred is enough"
    assert room_in_ms(USED, 60, NOW) == SPAN_MS - 9 * BUCKET_MS
    assert room_in_ms(USED, 20, NOW) == SPAN_MS + BUCKET_MS
