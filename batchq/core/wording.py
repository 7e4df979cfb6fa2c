"""Texts for people: foreign words on one harmless line, numbers with their units."""

from __future__ import annotations

import re
from collections.abc import Sequence

# C0, DEL, C1 (a lone \x9b begins an escape sequence), line and paragraph ends, marks that turn the direction of
# writing, and halves of surrogate pairs, which no terminal can be sent
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

Row = tuple[str, str]  # label, value


def one_line(text: str, most: int | None = None) -> str:
    """The text on one line with control characters escaped; cut to `most` characters where it is longer."""
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return _UNSAFE.sub(_escape, text)


def lines(text: str) -> str:
    """The same for a text of ours that has line breaks of its own: they stay."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    )


def count(number: int, one: str, many: str | None = None) -> str:
    """ "1 item", "2 items"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """ "0.8 s", "42 s", "3:07 min", "2:05:09 h"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def milliseconds(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1_000 else duration(ms / 1_000)


def per_second(rate: float) -> str:
    """A rate that can be read: below one a second it is told by the minute."""
    return f"{rate:,.1f}/s" if rate >= 1 else f"{rate * 60:,.1f}/min"


def money(usd: float) -> str:
    """Dollars with as many digits as a small sum needs."""
    if usd == 0:
        return "$0"
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}" if usd >= 0.0001 else f"${usd:.2g}"


def short(number: int) -> str:
    """ "950", "12.3k", "4.5M"."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def no_worker(queues: Sequence[str]) -> str:
    return f"no live worker consumes {', '.join(queues)}: start one with `batchq worker`"
