"""Pictures as Gemini reads them: checked, or drawn anew as png. ValueErrors say what is wrong, for the user."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 89_000_000  # of one picture, where Pillow begins to warn; a 600 dpi A3 page has 70 million
TOO_MANY = f"more than {MOST_PIXELS:,}: scale it down"
MOST_PAGES = 100  # of one tiff
BROKEN = "the picture is broken or cut off: save it anew, or send the whole file"
READ = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}  # and Pillow's names for them
HEIF = frozenset({"image/heic", "image/heif"})
CONVERTED = frozenset({"image/tiff", "image/gif", "image/bmp"})

JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"  # pixels begin; the picture is through


def check(data: bytes, kind: str) -> None:
    """Raises ValueError. What Gemini reads is not unpacked; what is converted is, for only that tells."""
    if kind in CONVERTED:
        for _ in _frames(data):
            pass
    elif kind in HEIF:
        _check_heif(data)
    else:
        _check_read(data, kind)


def as_png(data: bytes) -> Iterator[bytes]:
    """A png for each page of a tiff, for a bmp, or for the first frame of a gif. Raises ValueError."""
    for frame in _frames(data):
        try:
            out = io.BytesIO()
            _for_png(frame).save(out, "PNG", compress_level=1)  # a worker's other calls wait meanwhile
        except Exception as exc:
            raise _broken(exc) from exc
        yield out.getvalue()


def _check_read(data: bytes, kind: str) -> None:
    """Its header and its end, without unpacking it."""
    with _opened(data, (READ[kind],)) as image:
        _check_size(*image.size)
        try:
            image.verify()  # a png's checksums, to its last chunk
        except Exception as exc:
            raise _broken(exc) from exc
    if kind == "image/jpeg" and data.rfind(JPEG_END) < data.rfind(JPEG_SCAN):
        raise _broken()
    if kind == "image/webp" and len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise _broken()


def _check_heif(data: bytes) -> None:
    """Pillow cannot read it; its boxes must be whole and tell of a picture."""
    meta = next((content for kind, content in list(_boxes(data)) if kind == b"meta"), b"")
    at = meta.find(b"ispe")  # width and height of the picture and of each of its tiles
    if at < 0:
        raise _broken()
    while at >= 0:
        _check_size(int.from_bytes(meta[at + 8 : at + 12]), int.from_bytes(meta[at + 12 : at + 16]))
        at = meta.find(b"ispe", at + 16)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes of an ISO media file, each of which begins with its length."""
    at = 0
    while at < len(data):
        size, kind, head = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16]), 16
        elif size == 0:
            size = len(data) - at
        if size < head or at + size > len(data):
            raise _broken()
        yield kind, data[at + head : at + size]
        at += size


def _frames(data: bytes) -> Iterator[Image.Image]:
    from PIL import ImageOps

    with _opened(data, ("TIFF", "GIF", "BMP")) as image:
        count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        if count > MOST_PAGES:
            raise ValueError(f"it has {count} pages, more than {MOST_PAGES}: split it")
        for page in range(count):
            try:
                image.seek(page)
            except Exception as exc:
                raise _broken(exc) from exc
            _check_size(*image.size)
            try:
                frame = ImageOps.exif_transpose(image)
            except Exception as exc:
                raise _broken(exc) from exc
            yield frame


def _opened(data: bytes, forms: tuple[str, ...]) -> Image.Image:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data), formats=forms)
    except Exception as exc:
        raise _broken(exc) from exc


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width} × {height} pixels are {TOO_MANY}")


def _broken(exc: Exception | None = None) -> ValueError:
    """Whatever a broken file makes of Pillow: OSError, SyntaxError, struct.error … Its words would not help."""
    from PIL import Image

    if isinstance(exc, Image.DecompressionBombError):  # of twice as many as Pillow warns of
        return ValueError(f"its pixels are {TOO_MANY}")
    return ValueError(BROKEN)


def _for_png(image: Image.Image) -> Image.Image:
    if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        return image
    if image.mode in ("I", "F", "I;16B"):  # measured values: spread them over the greys
        low, high = (float(v) for v in image.getextrema())  # type: ignore[arg-type]
        scale = 255 / (high - low) if high > low else 1.0
        return image.convert("F").point(lambda v: v * scale - low * scale).convert("L")
    return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB")
