"""When a job will end: from the rate at which it really settles, else from what its quotas allow. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST_MS = 1_500  # between two looks at a job's progress
WEIGHT = 0.3  # of the newest stretch


@dataclass(frozen=True, slots=True)
class Pace:
    """A job's progress as last looked at. `per_hour` is items settled an hour, smoothed; 0: nothing known yet."""

    settled: int
    at_ms: int
    per_hour: int

    def wire(self) -> str:
        return f"{self.settled}:{self.at_ms}:{self.per_hour}"

    @classmethod
    def from_wire(cls, text: str | None) -> Pace | None:
        if not text:
            return None
        settled, at_ms, per_hour = text.split(":")
        return cls(int(settled), int(at_ms), int(per_hour))


def look(before: Pace | None, settled: int, now_ms: int, *, waits: bool) -> Pace:
    """The pace after another look. While the job `waits` for a quota nothing is learnt of its rate."""
    if before is None or settled < before.settled:  # a redrive opened it again
        return Pace(settled, now_ms, before.per_hour if before else 0)
    passed = now_ms - before.at_ms
    if passed < SHORTEST_MS:
        return before
    if waits:
        return Pace(settled, now_ms, before.per_hour)
    rate = (settled - before.settled) * 3_600_000 // passed
    if before.per_hour:
        rate = round(before.per_hour + WEIGHT * (rate - before.per_hour))
    return Pace(settled, now_ms, max(0, rate))


def eta_s(left: int, per_hour: int, allowed_per_hour: int, held_s: float) -> float | None:
    """Seconds until the last of `left` items, a hold first; None while nothing tells."""
    if left <= 0:
        return None
    rate = per_hour or allowed_per_hour
    return None if rate <= 0 else round(held_s + left * 3600 / rate, 1)
