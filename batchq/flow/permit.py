"""What passes through a gate: its answers to those who wait, and its news for the store."""

from __future__ import annotations

from dataclasses import dataclass

from batchq.core.quota import Correction


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call. `buckets` are where each quota counted it, `tokens` and `size` what was drawn for it:
    input tokens, and requests as the provider counts them."""

    waited_ms: int
    buckets: tuple[int, ...] = ()
    tokens: int = 0
    size: int = 1


@dataclass(frozen=True, slots=True)
class TooLong:
    """No permit within the patience; come back when it is due."""

    due_ms: int  # from now
    waited_ms: int
    binding: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """No permit ever: the item needs more tokens than the quota allows in a minute."""

    quota: str
    limit: int
    tokens: int


@dataclass(slots=True)
class News:
    """What the store is to hear with the next draw."""

    corrections: list[dict[int, Correction]]  # of each quota, by bucket
    freed: int = 0
    succeeded: int = 0

    def __bool__(self) -> bool:
        return bool(self.freed or self.succeeded or any(self.corrections))

    def correct(self, quota: int, bucket: int, requests: int, tokens: int) -> None:
        mine = self.corrections[quota]
        known = mine.get(bucket)
        if known is not None:
            requests, tokens = known.requests + requests, known.tokens + tokens
        mine[bucket] = Correction(bucket, requests, tokens)
