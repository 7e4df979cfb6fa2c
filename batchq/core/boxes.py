"""The boxes of an ISO media file (heic, m4a, mp4): each says its length and kind, and may hold others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """`start` and `end` are those of its content."""

    kind: bytes
    start: int
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """In order. Raises ValueError where one is cut off or says nonsense."""
    end = len(data) if end is None else end
    while start < end:
        size, kind, head = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16]), 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            raise ValueError("it is broken or cut off")
        yield Box(kind, start + head, start + size)
        start += size


def find(data: bytes, *path: bytes) -> Box | None:
    """The first box at a path of kinds, such as moov, mvhd. Raises ValueError as `boxes` does."""
    found = Box(b"", 0, len(data))
    for kind in path:
        inner = next((box for box in boxes(data, found.start, found.end) if box.kind == kind), None)
        if inner is None:
            return None
        found = inner
    return found
