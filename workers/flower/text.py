"""Text from outside, made fit to be looked at: ids, error messages, reasons."""

from __future__ import annotations

LONGEST = 200  # characters of a cell
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, longest: int = LONGEST) -> str:
    """The text on one line, with everything that could hide or reorder it spelled out, and cut where it is long.

    Line breaks, terminal escapes, bidirectional overrides and characters without width become \\u202e and the
    like. Markup stays as it is: the pages set text, never HTML.
    """
    shown = "".join(one if one.isprintable() else _spelled(one) for one in text[:longest])
    return shown if len(text) <= longest else f"{shown}… ({len(text):,} characters)"


def _spelled(one: str) -> str:
    return _SHORT.get(one) or (f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}")
