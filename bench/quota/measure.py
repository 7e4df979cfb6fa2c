"""What the emulator's admissions say of a run: how much of the quota was used, and the most in any minute."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    share: float  # of the quota, from `start_s` after the first admission to the end
    most: int  # in any rolling minute
    admitted: int
    lowest: float  # share in the worst window of 10 s


def use(times: Sequence[float], rpm: int, *, start_s: float = 60.0, end_s: float | None = None) -> Use:
    """`times` are seconds of admissions, in order; `end_s` counts from the first, None: to the last."""
    if not times:
        return Use(0.0, 0, 0, 0.0)
    first = times[0]
    end = times[-1] if end_s is None else min(times[-1], first + end_s)
    begin = first + start_s
    within = bisect_left(times, end) - bisect_left(times, begin)
    length = end - begin
    most, oldest = 0, 0
    for newest, at in enumerate(times):
        while at - times[oldest] >= 60.0:
            oldest += 1
        most = max(most, newest - oldest + 1)
    lowest, at = 1.0, begin
    while at + 10.0 <= end:
        lowest = min(lowest, (bisect_left(times, at + 10.0) - bisect_left(times, at)) / (rpm / 6))
        at += 1.0
    share = within / (rpm / 60 * length) if length > 0 else 0.0
    return Use(share, most, len(times), lowest)
