"""How many items go together in one call."""

from __future__ import annotations

from collections.abc import Sequence

TOKEN_SHARE = (
    20  # of a minute's tokens, one pack takes at most this part: a larger one would hold up all others
)
MOST_TOKENS = 1_000_000  # of a pack, about 4 MB of text: far below what one request may have


def even_share(limit: int, most: int) -> int:
    """The size of at most `most` at which whole packs use a limit up: 150 are two packs of 75."""
    if limit <= most:
        return max(1, limit)
    return limit // -(-limit // most)


def most_after(attempts: int, limited: int, max_attempts: int, most: int) -> int:
    """How many may go with an item after `attempts` that failed and `limited` refusals for rate.

    A quarter each time, and nobody with one that has a single attempt left: what ails one of a pack must not use up
    the attempts of its neighbours.
    """
    if attempts and attempts >= max_attempts - 1:
        return 1
    return max(1, most >> min(2 * attempts + limited, 30))


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """A total in parts, as the weights are; the parts come to the total."""
    left, weight, parts = total, sum(weights), list[int]()
    for one in weights:
        part = left * one // weight if weight else 0
        parts.append(part)
        left, weight = left - part, weight - one
    return parts
