"""A pen that measures in millimetres and writes what Pillow's built-in font lacks.

That font (the only one that needs no installing and is the same everywhere) holds ASCII and little else:
accents are set on their letters here, and € £ ¥ – are drawn.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

MM_PER_POINT = 25.4 / 72
SUPERSAMPLING = 2  # drawn this much larger, then shrunk: lines and marks get smooth edges
BOLD = 0.028  # stroke around a letter, of its size

_PLAIN = frozenset(map(chr, range(32, 127))) | frozenset("©°´·»«…™")
_DRAWN = {"€": "C", "¥": "Y", "£": "L", "–": "-"}  # the letter whose place it takes
_MARKS = {
    "\u0300": "grave",
    "\u0301": "acute",
    "\u0302": "circumflex",
    "\u0308": "diaeresis",
    "\u0327": "cedilla",
}

Colour = tuple[int, int, int]
INK: Colour = (28, 28, 32)


@lru_cache(maxsize=64)
def _font(px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=px)
    assert isinstance(font, ImageFont.FreeTypeFont)
    # The simple layout engine: the other one's spacing depends on libraries of the machine.
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)


class Pen:
    """Draws on one page. Lengths are in mm from the upper left corner, letter sizes in points."""

    def __init__(self, width: float, height: float, dpi: int, paper: Colour = (255, 255, 255)) -> None:
        self.width, self.height = width, height
        self._size = (round(width / 25.4 * dpi), round(height / 25.4 * dpi))
        self._px_per_mm = dpi / 25.4 * SUPERSAMPLING
        large = (self._size[0] * SUPERSAMPLING, self._size[1] * SUPERSAMPLING)
        self._image = Image.new("RGB", large, paper)
        self._draw = ImageDraw.Draw(self._image)

    def page(self) -> Image.Image:
        return self._image.resize(self._size, Image.Resampling.LANCZOS)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        points: float = 9,
        *,
        colour: Colour = INK,
        bold: bool = False,
        align: str = "l",
    ) -> None:
        """Write one line with its baseline at `y`; `align` says which end `x` is: l, r, or m for the middle.

        Raises ValueError for a letter that can neither be written nor drawn.
        """
        px = points * MM_PER_POINT * self._px_per_mm
        font, stroke = _font(round(px)), px * BOLD if bold else 0.0
        left = x * self._px_per_mm
        if align != "l":
            left -= _advance(text, font) / (1 if align == "r" else 2)
        base = y * self._px_per_mm
        for run in _runs(text):
            if all(letter in _PLAIN for letter in run):
                self._draw.text((left, base), run, colour, font, anchor="ls", stroke_width=stroke)
            else:
                self._special(run, left, base, font, stroke, colour)
            left += _advance(run, font)

    def length(self, text: str, points: float) -> float:
        font = _font(round(points * MM_PER_POINT * self._px_per_mm))
        return _advance(text, font) / self._px_per_mm

    def wrapped(self, text: str, points: float, width: float) -> list[str]:
        """The text in lines of at most `width`; a longer word stands alone."""
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.length(longer, points) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def line(
        self, x: float, y: float, x2: float, y2: float, width: float = 0.2, colour: Colour = INK
    ) -> None:
        self._draw.line(self._points(x, y, x2, y2), colour, max(1, round(width * self._px_per_mm)))

    def curve(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        px = [(x * self._px_per_mm, y * self._px_per_mm) for x, y in points]
        self._draw.line(px, colour, max(1, round(width * self._px_per_mm)), "curve")

    def box(
        self,
        x: float,
        y: float,
        x2: float,
        y2: float,
        fill: Colour | None = None,
        outline: Colour | None = None,
        radius: float = 0,
    ) -> None:
        width = max(1, round(0.2 * self._px_per_mm))
        self._draw.rounded_rectangle(
            self._points(x, y, x2, y2), radius * self._px_per_mm, fill, outline, width
        )

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        self._draw.ellipse(self._points(x - radius, y - radius, x + radius, y + radius), fill)

    def shape(self, corners: list[tuple[float, float]], fill: Colour) -> None:
        self._draw.polygon([(x * self._px_per_mm, y * self._px_per_mm) for x, y in corners], fill)

    def paste(self, x: float, y: float, picture: Image.Image, width: float, ink: Colour) -> None:
        """Print a grey mask (white prints) `width` mm wide with its upper left corner at x, y."""
        px = round(width * self._px_per_mm)
        mask = picture.resize((px, round(picture.height * px / picture.width)), Image.Resampling.BICUBIC)
        place = (round(x * self._px_per_mm), round(y * self._px_per_mm))
        self._image.paste(ink, (*place, place[0] + mask.width, place[1] + mask.height), mask)

    def _points(self, *mm: float) -> list[float]:
        return [value * self._px_per_mm for value in mm]

    def _special(
        self, letter: str, x: float, base: float, font: ImageFont.FreeTypeFont, stroke: float, colour: Colour
    ) -> None:
        em = font.size
        thick = max(1, round(em * 0.075 + stroke))

        def stroke_along(*points: tuple[float, float]) -> None:  # in ems from the left end of the baseline
            self._draw.line(
                [(x + em * right, base - em * up) for right, up in points], colour, thick, "curve"
            )

        if letter in "€¥":
            self._draw.text((x, base), _DRAWN[letter], colour, font, anchor="ls", stroke_width=stroke)
            width = font.getlength(_DRAWN[letter]) / em
            bars = (0.42, 0.28) if letter == "€" else (0.30, 0.16)
            for up in bars:
                stroke_along((0.0 if letter == "€" else width * 0.2, up), (width * 0.72, up))
        elif letter == "£":
            stroke_along((0.03, 0.02), (0.5, 0.02))
            stroke_along((0.03, 0.34), (0.38, 0.34))
            stroke_along(
                (0.06, 0.03),
                (0.15, 0.13),
                (0.17, 0.3),
                (0.15, 0.5),
                (0.2, 0.64),
                (0.31, 0.69),
                (0.42, 0.64),
                (0.46, 0.55),
            )
        elif letter == "–":
            stroke_along((0.02, 0.24), (font.getlength("-") / em, 0.24))
        else:
            self._accented(letter, x, base, font, stroke, colour)

    def _accented(
        self, letter: str, x: float, base: float, font: ImageFont.FreeTypeFont, stroke: float, colour: Colour
    ) -> None:
        plain, mark = _split(letter)
        self._draw.text((x, base), plain, colour, font, anchor="ls", stroke_width=stroke)
        left, top, right, _ = font.getbbox(plain, anchor="ls")
        em, middle = font.size, x + (left + right) / 2
        y = base + top - em * 0.10
        thick = max(1, round(em * 0.07 + stroke))
        if mark == "diaeresis":
            radius = em * 0.052 + stroke / 2
            for side in (-1, 1):
                at = middle + side * em * 0.12
                self._draw.ellipse((at - radius, y - radius, at + radius, y + radius), colour)
        elif mark == "cedilla":
            self._draw.line(
                [
                    (middle, base),
                    (middle + em * 0.05, base + em * 0.08),
                    (middle - em * 0.03, base + em * 0.16),
                ],
                colour,
                max(1, thick - 1),
            )
        else:
            tips = {"acute": (-0.06, 0.09), "grave": (0.06, -0.09), "circumflex": (0.0, 0.0)}[mark]
            high, low = y - em * 0.06, y + em * 0.05
            if mark == "circumflex":
                ends = [(middle - em * 0.12, low), (middle, high), (middle + em * 0.12, low)]
            else:
                ends = [(middle + em * tips[0], low), (middle + em * tips[1], high)]
            self._draw.line(ends, colour, thick)


def _advance(text: str, font: ImageFont.FreeTypeFont) -> float:
    return font.getlength("".join(_DRAWN.get(letter) or _split(letter)[0] for letter in text))


def _runs(text: str) -> Iterator[str]:
    """Stretches of plain letters, and each other letter alone."""
    run = ""
    for letter in text:
        if letter in _PLAIN:
            run += letter
            continue
        if run:
            yield run
        yield letter
        run = ""
    if run:
        yield run


def _split(letter: str) -> tuple[str, str]:
    """A letter's plain form and the name of its mark, "" for none."""
    if letter in _PLAIN:
        return letter, ""
    parts = unicodedata.normalize("NFD", letter)
    plain, mark = parts[0], parts[1:]
    if plain not in _PLAIN or mark not in _MARKS:
        raise ValueError(f"{letter!r} is not in the built-in font and cannot be drawn: use another word")
    return plain, _MARKS[mark]


def typewritten(lines: list[str]) -> Image.Image:
    """Lines in Pillow's bitmap font, as a dot-matrix printer would: a grey mask, 6 × 12 px a letter."""
    font = ImageFont.load_default_imagefont()
    columns = max(map(len, lines))
    mask = Image.new("L", (columns * 6 + 2, len(lines) * 12 + 2), 0)
    draw = ImageDraw.Draw(mask)
    for row, text in enumerate(lines):
        # The bitmap font is Latin-1; it prints the euro as a printer of its time did.
        draw.text((1, row * 12), text.replace("€", "EUR"), 255, font)
    return mask
