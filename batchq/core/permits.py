"""Drawing permits from several quotas at once: each a slot in time that all of them allow, or none is charged.

The model that draw.lua equals, to the last permit; what one quota allows is told in quota.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchq.core.pacific import Days
from batchq.core.quota import Correction, Quota

HOLDS = ("hold", "day", "capacity", "outage", "requests_per_day", "paused")  # nothing at all goes for a time
BINDINGS = {  # what a draw may wait for
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "input tokens a minute",
    "requests_per_day": "requests a day",
    "concurrency": "calls in flight",
    "reserved": "a larger call's turn",
    "hold": "held after a refusal",
    "day": "the day's requests are used up",
    "capacity": "the provider has no capacity",
    "outage": "the provider does not answer",
    "probe": "one call asks whether the provider is there again",
    "paused": "paused by a person",
    "too_large": "larger than a minute's tokens",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A draw: who asks for what. `costs` are the input tokens of each wanted permit, in order of their turn, `sizes`
    the requests that the provider will count for it (each text of a pack of embeddings is one); empty: one each.

    `expected_ms`: what each quota's clock should show now: what it showed at this caller's last draw, and the time
    since by the caller's monotonic clock; empty at its first. `day_ends` are the Pacific midnights around now as the caller's clock sees them: a clock wrong by hours does no harm.
    """

    owner: str
    costs: tuple[int, ...]
    ahead_ms: int  # how far ahead of now a slot may lie
    day_ends: Days
    expected_ms: tuple[int, ...] = ()
    freed: int = 0  # calls in flight that ended
    succeeded: int = 0  # calls answered since the last draw: capacity is there again
    sizes: tuple[int, ...] = ()
    gate: str = ""  # which of the owner's gates draws

    @property
    def place(self) -> str:
        return f"{self.owner} {self.gate}"


@dataclass(frozen=True, slots=True)
class Granted:
    """`slots_ms` are times from now, in order; fewer than asked: ask again after `wait_ms`.

    `clocks_ms` is each quota's own time, from which the buckets of corrections count.
    """

    slots_ms: tuple[int, ...]
    wait_ms: int
    binding: str  # what it waits for, see BINDINGS; "" for nothing
    bound: int  # which of the quotas binds
    clocks_ms: tuple[int, ...]
    limit: int = 0  # of the tokens, with "too_large"
    rpm: int = 0  # the pace in force, of the slowest; 0: none


def draw(
    quotas: Sequence[Quota],
    asked: Asked,
    *,
    now_ms: int,
    epoch: str,
    corrections: Sequence[Sequence[Correction]] = (),
) -> Granted:
    """Draw permits that every one of `quotas` allows, each a slot in time; charged to all of them or to none."""
    began_ms = max((end for end in asked.day_ends if end <= now_ms), default=0)
    for index, quota in enumerate(quotas):
        quota.begin(now_ms, asked.day_ends, epoch, asked.expected_ms[index] if asked.expected_ms else None)
        quota.hear(now_ms, asked.owner, asked.freed, asked.succeeded)
        quota.correct(corrections[index] if corrections else (), began_ms)
    clocks = tuple(quota.last_ms for quota in quotas)
    rpm = min((pace for quota in quotas if (pace := quota.rpm())), default=0)
    wait, binding, bound, room = 0, "", 0, len(asked.costs)
    sizes = asked.sizes or (1,) * len(asked.costs)
    for index, quota in enumerate(quotas):
        longer, why, most = quota.blocked(now_ms, asked.place, sizes[0] if sizes else 1)
        room = min(room, most)
        if longer > wait:
            wait, binding, bound = longer, why, index
    if wait:
        return Granted((), wait, binding, bound, clocks, rpm=rpm)
    slots: list[int] = []
    for tokens, size in zip(asked.costs[:room], sizes, strict=False):
        if slots and any(quota.day_left < size for quota in quotas):
            break  # the next draw says so
        large = _too_large(quotas, tokens)
        if large is not None:
            if not slots:
                limit = quotas[large].limits.tokens_per_minute or 0
                return Granted((), 0, "too_large", large, clocks, limit=limit, rpm=rpm)
            break
        ahead_us, why, by, tails = _common_slot(quotas, size, tokens)
        ahead_ms = ahead_us // 1000
        if ahead_ms > asked.ahead_ms:
            wait, binding, bound = ahead_ms - asked.ahead_ms, why, by
            if not slots:  # else it is another's turn
                quotas[by].reserve(asked.place, why, size, tokens)
            break
        for quota, tail in zip(quotas, tails, strict=True):
            quota.take(asked.owner, asked.place, size, tokens, ahead_us, tail)
        slots.append(ahead_ms)
    return Granted(tuple(slots), wait, binding, bound, clocks, rpm=rpm)


def _too_large(quotas: Sequence[Quota], tokens: int) -> int | None:
    for index, quota in enumerate(quotas):
        limit = quota.limits.tokens_per_minute
        if limit is not None and tokens > limit:
            return index
    return None


def _common_slot(quotas: Sequence[Quota], size: int, tokens: int) -> tuple[int, str, int, list[int]]:
    """The first slot that all allow: each may push it further, until none does."""
    ahead_us, binding, bound = 0, "", 0
    while True:
        before, tails = ahead_us, []
        for index, quota in enumerate(quotas):
            at_us, why, tail = quota.earliest(size, tokens, ahead_us)
            tails.append(tail)
            if at_us > ahead_us:
                ahead_us, binding, bound = at_us, why, index
        if ahead_us == before:
            return ahead_us, binding, bound, tails
