"""How long a recording is, by its headers."""

from __future__ import annotations

import io

LEAST_RATE = 250  # bytes a second; below it the header was never finished, as a recorder's that was cut short


def seconds(data: bytes) -> float | None:
    """None: it does not say. Raises ValueError for what is no recording."""
    from tinytag import ParseError, TinyTag, UnsupportedFormatError

    try:
        length_s = TinyTag.get(file_obj=io.BytesIO(data), tags=False).duration
    except UnsupportedFormatError:
        return None
    except ParseError:
        raise ValueError("it is broken or cut off") from None
    return length_s if length_s and len(data) / length_s >= LEAST_RATE else None
