"""What was drawn from a quota in the last minute, in buckets of time.

A permit counts in the bucket of its slot. It is used at most VALID_MS after its slot and the call arrives at most
TRAVEL_MS later, so a window counts for that much longer than a minute: that, and the width of a bucket, are all that
stands between "never over" and 100 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BUCKET_MS = 100
MINUTE_MS = 60_000
VALID_MS = 500  # after its slot a permit is void
TRAVEL_MS = 250  # from leaving the gate to being counted by the provider
SPAN_MS = MINUTE_MS + VALID_MS + TRAVEL_MS  # between two slots whose calls cannot share a minute
TURN_S = 65.0  # a call as large as a whole minute has its slot by then, once what comes free is kept for it
RING = 700  # buckets that can hold anything: a span's, and those of slots ahead


def oldest_at(at_ms: int) -> int:
    """The oldest bucket that still counts at a time."""
    return (at_ms - SPAN_MS) // BUCKET_MS


def room_in_ms(amounts: Mapping[int, int], limit: int, now_ms: int) -> int:
    """How long until a window of these amounts, by bucket, has room again; 0: it has."""
    counted = {bucket: n for bucket, n in amounts.items() if bucket >= oldest_at(now_ms) and n}
    used = sum(counted.values())
    if used < limit:
        return 0
    for bucket in sorted(counted):
        used -= counted[bucket]
        if used < limit:
            return max(0, (bucket + 1) * BUCKET_MS + SPAN_MS - now_ms)
    return 0


@dataclass(slots=True)
class Ring:
    """`tail` is the oldest bucket that still counts; the sums are of all from there on."""

    tail: int = 0
    requests: int = 0
    tokens: int = 0
    of_requests: dict[int, int] = field(default_factory=dict)
    of_tokens: dict[int, int] = field(default_factory=dict)

    def add(self, bucket: int, requests: int, tokens: int) -> None:
        self.of_requests[bucket] = self.of_requests.get(bucket, 0) + requests
        self.of_tokens[bucket] = self.of_tokens.get(bucket, 0) + tokens
        self.requests += requests
        self.tokens += tokens

    def expire(self, oldest: int) -> None:
        for bucket in range(self.tail, min(oldest, self.tail + RING)):
            self.requests -= self.of_requests.pop(bucket, 0)
            self.tokens -= self.of_tokens.pop(bucket, 0)
        self.tail = max(self.tail, oldest)

    def correct(self, bucket: int, requests: int, tokens: int) -> int:
        """Settle a difference, never below nothing. Returns how many requests that came to."""
        requests = max(requests, -self.of_requests.get(bucket, 0))
        self.add(bucket, requests, max(tokens, -self.of_tokens.get(bucket, 0)))
        return requests
