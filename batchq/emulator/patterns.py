"""A text that matches a regular expression: best effort, for answers under a schema's `pattern`."""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

PRINTABLE = "".join(chr(code) for code in range(32, 127))
WORD = "".join(c for c in PRINTABLE if c.isalnum())
MOST_REPEATS = 4  # beyond the least of an open-ended repetition
CATEGORIES = {
    sre.CATEGORY_DIGIT: "0123456789",
    sre.CATEGORY_WORD: WORD + "_",
    sre.CATEGORY_SPACE: " ",
    sre.CATEGORY_NOT_DIGIT: "abcdefghij",
    sre.CATEGORY_NOT_WORD: "-.,:",
    sre.CATEGORY_NOT_SPACE: WORD,
}


def matching(pattern: str, dice: Random) -> str | None:
    """A text in which `pattern` is found; None where the pattern is beyond us (look-arounds, say)."""
    tree = _tree(pattern)
    if tree is None:
        return None
    for _ in range(8):
        text = _walk(tree, dice, {})
        if re.search(pattern, text):
            return text
    return None


@lru_cache(maxsize=256)
def _tree(pattern: str) -> Any:
    try:
        return parser.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        return None


def _walk(tree: Any, dice: Random, groups: dict[int, str]) -> str:
    return "".join(_one(kind, value, dice, groups) for kind, value in tree)


def _one(kind: Any, value: Any, dice: Random, groups: dict[int, str]) -> str:
    if kind is sre.LITERAL:
        return chr(value)
    if kind is sre.NOT_LITERAL:
        return dice.choice([c for c in WORD if ord(c) != value])
    if kind is sre.ANY:
        return dice.choice(WORD)
    if kind is sre.IN:
        return dice.choice(_set(value) or " ")
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        least, most, inner = value
        times = dice.randint(least, min(most, least + MOST_REPEATS))
        return "".join(_walk(inner, dice, groups) for _ in range(times))
    if kind is sre.BRANCH:
        return _walk(dice.choice(value[1]), dice, groups)
    if kind is sre.SUBPATTERN:
        text = _walk(value[3], dice, groups)
        if value[0] is not None:
            groups[value[0]] = text
        return text
    if kind is sre.GROUPREF:
        return groups.get(value, "")
    return ""  # anchors; what else there is fails the search above


def _set(members: Any) -> str:
    chosen = ""
    negated = False
    for kind, value in members:
        if kind is sre.NEGATE:
            negated = True
        elif kind is sre.LITERAL:
            chosen += chr(value)
        elif kind is sre.RANGE:
            chosen += "".join(chr(code) for code in range(value[0], min(value[1], value[0] + 255) + 1))
        elif kind is sre.CATEGORY:
            chosen += CATEGORIES.get(value, "")
    return "".join(c for c in PRINTABLE if c not in chosen) if negated else chosen
