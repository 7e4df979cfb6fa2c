"""How many input tokens a request will have, before it is sent. Pure; the provider's own count corrects it.

Text is estimated by its bytes, images and PDFs by Gemini's published rules: 258 tokens for an image of at most
384 pixels a side, else for each tile of 768 × 768; 258 for a page of a PDF; 32 for a second of audio. What
remains (languages, templates, overhead) is a ratio learnt for each operation and model from real usage.
"""

from __future__ import annotations

import math
import re
import struct
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BYTES_A_TOKEN = 4
TILE_TOKENS = 258
SMALL_SIDE = 384
TILE_SIDE = 768
AUDIO_TOKENS_A_SECOND = 32
AUDIO_BYTES_A_SECOND = 4_000  # of a low bit rate, so that the guess is high where the file does not tell
UNREAD_IMAGE_TILES = 4  # of an image whose size is not at the place we look at
OVERHEAD = 8  # roles, separators

UPPER = 0.95  # the quantile that is drawn
SAMPLES = 300  # of which a ratio is learnt
ENOUGH = 20  # below them the estimate keeps a margin
FIRST_MARGIN = 1.2

_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


@dataclass(frozen=True, slots=True)
class Estimate:
    """Input tokens: `upper` is drawn from the quota, `usual` is what most such items have."""

    upper: int
    usual: int
    raw: int  # before the learnt ratio


def of_texts(*values: Any) -> int:
    """Tokens of all text in JSON values, keys aside."""
    return _bytes_in(values) // BYTES_A_TOKEN + OVERHEAD


def _bytes_in(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, Mapping):
        return sum(_bytes_in(one) for one in value.values())
    if isinstance(value, list | tuple):
        return sum(_bytes_in(one) for one in value)
    return 2 if value is not None else 0


def of_file(data: bytes, kind: str | None, length_s: float | None = None) -> int:
    """Tokens of a file by its MIME type (None: it is text) and, of a recording, its length."""
    if kind is None or kind.startswith("text/"):
        return len(data) // BYTES_A_TOKEN
    if kind == "application/pdf":
        return TILE_TOKENS * max(1, len(_PDF_PAGE.findall(data)))
    if kind.startswith("audio/"):
        return of_audio(len(data), length_s)
    size = image_size(data)
    return TILE_TOKENS * (tiles(*size) if size else UNREAD_IMAGE_TILES)


def of_audio(size: int, length_s: float | None) -> int:
    """`size` in bytes, from which the length is guessed where it is not known."""
    if length_s is None:
        length_s = size / AUDIO_BYTES_A_SECOND
    return AUDIO_TOKENS_A_SECOND * max(1, math.ceil(length_s))


def tiles(width: int, height: int) -> int:
    if width <= SMALL_SIDE and height <= SMALL_SIDE:
        return 1
    return -(-width // TILE_SIDE) * -(-height // TILE_SIDE)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a png, gif or jpeg from its header; None where it is not told there."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return int(width), int(height)
    if data[:4] == b"GIF8" and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return int(width), int(height)
    return _jpeg_size(data) if data[:2] == b"\xff\xd8" else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame's header
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return int(width), int(height)
        if marker == 0xFF:
            at += 1
            continue
        at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    return None


class Ratio:
    """Real tokens for an estimated one, learnt from the last SAMPLES calls of the fleet. Safe for threads."""

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._news: deque[float] = deque(maxlen=SAMPLES)  # of this process, not yet told to the others
        self._sorted: list[float] = []
        self._lock = threading.Lock()

    def learn(self, raw: int, real: int) -> None:
        if raw <= 0 or real <= 0:
            return
        ratio = real / raw
        with self._lock:
            self._news.append(ratio)
            self._order.append(ratio)
            insort(self._sorted, ratio)
            if len(self._order) > SAMPLES:
                self._sorted.pop(bisect_left(self._sorted, self._order.popleft()))

    def take_news(self) -> list[float]:
        with self._lock:
            news = list(self._news)
            self._news.clear()
        return news

    def adopt(self, fleet: Sequence[float]) -> None:
        """The fleet's samples, oldest first, in place of these; what came since the news were taken stays."""
        with self._lock:
            self._order = deque([*fleet, *self._news][-SAMPLES:])
            self._sorted = sorted(self._order)

    def estimate(self, raw: int) -> Estimate:
        with self._lock:
            known = len(self._sorted)
            if not known:
                return Estimate(int(raw * FIRST_MARGIN) + 1, raw, raw)
            upper = self._sorted[min(known - 1, int(UPPER * known))]
            usual = self._sorted[known // 2]
        if known < ENOUGH:
            upper *= FIRST_MARGIN
        return Estimate(int(raw * upper) + 1, int(raw * usual), raw)
