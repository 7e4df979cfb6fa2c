"""Latencies counted in buckets 10 % wide, so that a job of any size keeps its percentiles in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

WIDTH = 1.1
_LOG = math.log(WIDTH)


def bucket_of(duration_ms: int) -> int:
    """The bucket of a duration; 0 holds everything up to 1 ms."""
    return max(0, math.ceil(math.log(max(1, duration_ms)) / _LOG))


def upper_ms(bucket: int) -> float:
    """The longest duration that falls into a bucket."""
    return float(WIDTH**bucket)


def percentile(buckets: Mapping[int, int], share: float, longest_ms: int) -> int:
    """The duration that `share` of the calls did not exceed, read off the buckets: at most 10 % too high."""
    total = sum(buckets.values())
    seen, wanted = 0, share * total
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted:
            return min(longest_ms, round(upper_ms(bucket)))
    return longest_ms


def percentiles(buckets: Mapping[int, int], longest_ms: int) -> dict[str, int]:
    """p50, p95 and max in ms; empty before the first call."""
    if not buckets:
        return {}
    return {
        "p50": percentile(buckets, 0.50, longest_ms),
        "p95": percentile(buckets, 0.95, longest_ms),
        "max": longest_ms,
    }
