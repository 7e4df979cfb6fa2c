"""The limits of a quota, and which of them are in force."""

from __future__ import annotations

from dataclasses import dataclass

LEARNT = ("requests_per_minute", "tokens_per_minute", "requests_per_day")  # what refusals tell
DIMENSIONS = (*LEARNT, "concurrency")


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """None: no limit of this kind. `learns`: a requests limit that is None is one nobody knows yet."""

    requests_per_minute: int | None = None
    concurrency: int | None = None
    tokens_per_minute: int | None = None  # input tokens
    requests_per_day: int | None = None
    learns: bool = False

    @property
    def unlimited(self) -> bool:
        return self == QuotaLimits()


def in_force(set: QuotaLimits, conf: QuotaLimits, learnt: QuotaLimits) -> QuotaLimits:
    """Dimension by dimension: what a person set (0: no limit), else the lower of configured and learnt."""

    def of(name: str) -> int | None:
        chosen: int | None = getattr(set, name)
        if chosen is not None:
            return chosen or None
        known = [value for one in (conf, learnt) if (value := getattr(one, name)) is not None]
        return min(known, default=None)

    return QuotaLimits(**{name: of(name) for name in DIMENSIONS}, learns=conf.learns)
