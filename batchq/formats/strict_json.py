"""JSON as the standard has it: what one reader takes and the next refuses is refused here.

Python's own parser takes NaN, numbers that overflow to infinity, an object that names a key twice, and half
of a surrogate pair. Each would break or change somewhere behind us: in the store, at the provider, in
whatever reads the results. Whole numbers of any size stay exact.
"""

from __future__ import annotations

import json
import re
from typing import Any

from batchq.formats.words import shown

MAX_DEPTH = 64  # objects and lists within each other

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class NotStrict(ValueError):
    """The text is no strict JSON. The message quotes names and places, never values: those may be prompts."""


def parse(text: str) -> Any:
    """The value of a JSON text that stands alone. Raises NotStrict."""
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as exc:
        raise NotStrict(f"not JSON: {_reason(exc)}") from None
    except RecursionError:
        raise NotStrict(_too_deep()) from None
    except NotStrict:
        raise
    except ValueError:  # int() refuses thousands of digits: quadratic time
        raise NotStrict("a number has too many digits: write it as a string") from None
    # Both checks walk the value, so they run only where the text hints at trouble.
    if text.count("{") + text.count("[") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        raise NotStrict(_too_deep())
    if "\\u" in text and _ESCAPED_SURROGATE.search(text) and not encodable(value):
        raise NotStrict("half of a surrogate pair (\\ud800 to \\udfff) stands alone: it is no character")
    return value


def depth(value: Any) -> int:
    """How many objects and lists stand within each other; 0 for a plain value. Stops one past MAX_DEPTH."""
    level, layer = 0, [value]
    while level <= MAX_DEPTH:
        layer = [one for one in layer if isinstance(one, (dict, list, tuple))]
        if not layer:
            return level
        level += 1
        layer = [child for one in layer for child in (one.values() if isinstance(one, dict) else one)]
    return level


def encodable(value: Any) -> bool:
    """Whether every string in it can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason(exc: json.JSONDecodeError) -> str:
    if exc.pos == 0 and exc.doc.startswith("\ufeff"):
        return "a byte order mark stands before it: were files joined? Remove it"
    return f"{exc.msg[0].lower()}{exc.msg[1:]} at character {exc.pos + 1}"


def _too_deep() -> str:
    return f"objects and lists nest deeper than {MAX_DEPTH}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotStrict(f"the key {shown(twice)} appears twice in one object: keep one")
    return made


def _constant(name: str) -> Any:
    raise NotStrict(f"{name} is not JSON: write null or a number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise NotStrict("a number is larger than any float: write it as a string")
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite)
