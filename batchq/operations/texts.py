"""What a text must be to be sent."""

from __future__ import annotations

from typing import Any

LONGEST_TEXT = 4 * 1024 * 1024  # bytes of UTF-8


def bad_text(value: Any, name: str) -> str | None:
    if not isinstance(value, str):
        return f"{name} must be a text, not {type(value).__name__}"
    if not value.strip():
        return f"{name} is empty"
    try:
        size = len(value.encode())
    except UnicodeEncodeError as exc:
        return f"{name} holds half a surrogate pair at character {exc.start + 1}, which is no Unicode text"
    if size > LONGEST_TEXT:
        return f"{name} has {size:,} bytes, more than {LONGEST_TEXT:,}: split it or send it as a file"
    return None
