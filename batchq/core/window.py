"""How many items of a lane may be in flight: enough to keep the quota and the workers busy, no more.

Short queues are what lets other jobs take their turn and cancel and pause bite at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

LEAST_WEIGHT = 0.01  # of its own that a lane keeps, so that those that all need little share by weight
APART = (
    4  # times as much as the least the largest priority gets; a lane that needs less still counts as no less
)
COARSE = 4  # items of the least lane, below which its part is rounded up and the others' with it
SLOTS_AHEAD = 2  # windows reach this many times the slots of the live workers
WAIT_S = 1.5  # of permits drawn ahead
USUAL_LATENCY_S = 5.0  # until the job's own is known


def fleet_window(slots: int, rate_per_s: float | None, latency_s: float | None) -> int:
    """Items in flight for one quota, over all jobs.

    `slots` is how many items the live workers of the queue run at once (0: nobody consumes it, nothing goes
    out); `rate_per_s` the quota's, None when unknown; `latency_s` of a call, None when unknown.
    """
    most = SLOTS_AHEAD * slots
    if rate_per_s is None:
        return most
    wanted = rate_per_s * (latency_s or USUAL_LATENCY_S) + min(WAIT_S * rate_per_s, slots / 2)
    return min(most, math.ceil(wanted))


def in_packs(items: int, pack: int, most: int) -> int:
    """A window of items that go in packs: whole packs, one more than the rate alone needs, so that it waits at the
    gate while the others are under way."""
    return min(most, (-(-items // pack) + 1) * pack)


def share(window: int, lane: str, weights: Mapping[str, float]) -> int:
    """A lane's part of a window, by weight, at least 1 where the window has room at all.

    A small window is made as large as whole items in proportion need: 1 and 2 of a window of two would be 1 and 1.
    """
    total = sum(weights.values())
    if window <= 0:
        return 0
    if lane not in weights or total <= 0:
        return window
    least = max(min(weights.values()), max(weights.values()) / APART)
    of_least = window * least / total
    if of_least < COARSE:
        of_least = math.ceil(of_least)
    return max(1, round(of_least * weights[lane] / least))


def weight_of(priority: int) -> float:
    """--priority 1 to 10: 10 gets twice what 5 gets."""
    return float(2 ** ((priority - 5) / 5))


def weight_within(weight: float, part: float, others: float) -> float:
    """The weight of a lane that can use only `part` of a window, by a limit of its own, beside the weight of the
    `others`: what it cannot use is theirs."""
    if part >= 1 or others <= 0:
        return weight
    return max(LEAST_WEIGHT * weight, min(weight, others * part / (1 - part)))


def differs(weight: float, known: float | None) -> bool:
    """Whether the others should hear of a lane's weight."""
    return known is None or abs(weight - known) > 0.1 * known
