"""A file's bytes as parts of a request. What a file is, its content says, never its name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from batchq.core.records import JsonObject
from batchq.errors import Unsendable
from batchq.operations.base import Blob

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 89_000_000  # of one picture, where Pillow begins to warn; a 600 dpi A3 page has 70 million
TOO_MANY = f"more than {MOST_PIXELS:,}: scale it down"
MOST_PAGES = 100  # of one tiff


def parts_of(blob: Blob) -> list[JsonObject]:
    """One part, or one for each page of a tiff. Bytes stay bytes (`inlineData.data`).

    tiff, bmp and gif (its first frame), which Gemini does not read, become png. Pictures and PDFs that are cut
    off or broken, and pictures of too many pixels, are refused here; a locked PDF goes as it is: the provider's own
    word on it is the better message. Raises Unsendable(FILE_UNREADABLE).
    """
    if not blob.data:
        raise _unreadable(blob, "the file is empty")
    kind = media_type(blob.data)
    if kind in CONVERTED:
        return [_inline("image/png", page) for page in _pages(blob)]
    if kind in CHECKED:
        _check_picture(blob, kind)
    elif kind == "application/pdf":
        _check_pdf(blob)
    if kind is not None:
        return [_inline(kind, blob.data)]
    text = _text(blob)
    return [{"text": f"File {blob.name}:\n\n{text}"}]


def media_type(data: bytes) -> str | None:
    """The MIME type by the first bytes; None: none of those we know, so perhaps text."""
    for magic, kind in MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(data[8:12])
    if data[4:8] == b"ftyp":
        return FTYP.get(data[8:12])
    if data[:1024].lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"%PDF-"):
        return "application/pdf"
    if data[:2] == b"BM" and len(data) > 26 and data[6:10] == bytes(4):  # not a text that begins with BM
        return "image/bmp"
    if data[:3] == b"ID3" and len(data) > 10 and data[3] < 0x10:
        return "audio/mp3"
    if data[0:1] == b"\xff" and len(data) > 2 and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 == 0x02:
        return "audio/mp3"  # an MPEG layer III frame without ID3 tag
    return None


MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
FTYP = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
}
CONVERTED = frozenset({"image/tiff", "image/gif", "image/bmp"})
CHECKED = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}  # and Pillow's names for them
PDF_TAIL = 2_048  # bytes at the end of a PDF in which its trailer must stand; readers look through 1,024


def _inline(kind: str, data: bytes) -> JsonObject:
    return {"inlineData": {"mimeType": kind, "data": data}}


def _text(blob: Blob) -> str:
    encoding = "utf-16" if blob.data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = blob.data.decode(encoding)
    except UnicodeDecodeError:
        raise _unreadable(
            blob, "it is neither an image, PDF or audio file that Gemini reads, nor UTF-8 text"
        ) from None
    if "\0" in text:
        raise _unreadable(blob, "it is binary, of a kind that Gemini does not read")
    if not text.strip():
        raise _unreadable(blob, "there is no text in it")
    return text


def _check_picture(blob: Blob, kind: str) -> None:
    """Its header and its end, without unpacking it."""
    with _opened(blob, (CHECKED[kind],)) as image:
        _check_size(blob, image)
        try:
            image.verify()  # a png's checksums, to its last chunk
        except Exception as exc:
            raise _broken(blob, exc) from exc
    if kind == "image/jpeg" and blob.data.rfind(JPEG_END) < blob.data.rfind(JPEG_SCAN):
        raise _broken(blob)
    if kind == "image/webp" and len(blob.data) < 8 + int.from_bytes(blob.data[4:8], "little"):
        raise _broken(blob)


JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"  # pixels begin; the picture is through


def _check_pdf(blob: Blob) -> None:
    tail = blob.data[-PDF_TAIL:]
    if b"%%EOF" not in tail and b"startxref" not in tail:
        raise _unreadable(blob, "the PDF is cut off, its trailer is missing: send the whole file")


def _pages(blob: Blob) -> Iterator[bytes]:
    with _opened(blob, ("TIFF", "GIF", "BMP")) as image:
        count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        if count > MOST_PAGES:
            raise _unreadable(blob, f"it has {count} pages, more than {MOST_PAGES}: split it")
        for page in range(count):
            yield _png(blob, image, page)


def _png(blob: Blob, image: Image.Image, page: int) -> bytes:
    from PIL import ImageOps

    try:
        image.seek(page)
        _check_size(blob, image)
        frame = _for_png(ImageOps.exif_transpose(image))
        out = io.BytesIO()
        frame.save(out, "PNG", compress_level=1)  # a worker's other calls wait meanwhile
        return out.getvalue()
    except Unsendable:
        raise
    except Exception as exc:
        raise _broken(blob, exc) from exc


def _opened(blob: Blob, forms: tuple[str, ...]) -> Image.Image:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(blob.data), formats=forms)
    except Exception as exc:
        raise _broken(blob, exc) from exc


def _check_size(blob: Blob, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _unreadable(blob, f"{width} × {height} pixels are {TOO_MANY}")


def _broken(blob: Blob, exc: Exception | None = None) -> Unsendable:
    """Whatever a broken file makes of Pillow: OSError, SyntaxError, struct.error … Its words would not help."""
    from PIL import Image

    if isinstance(exc, Image.DecompressionBombError):  # of twice as many as Pillow warns of
        return _unreadable(blob, f"its pixels are {TOO_MANY}")
    return _unreadable(blob, "the picture is broken or cut off: save it anew, or send the whole file")


def _for_png(image: Image.Image) -> Image.Image:
    if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        return image
    if image.mode in ("I", "F", "I;16B"):  # measured values: spread them over the greys
        low, high = (float(v) for v in image.getextrema())  # type: ignore[arg-type]
        scale = 255 / (high - low) if high > low else 1.0
        return image.convert("F").point(lambda v: v * scale - low * scale).convert("L")
    return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB")


def _unreadable(blob: Blob, why: str) -> Unsendable:
    return Unsendable(f"{_shown(blob.name)} cannot be read: {_shown(why)}", kind="FILE_UNREADABLE")


def _shown(text: str) -> str:
    said = "".join(c if c.isprintable() else " " for c in text)
    return said if len(said) <= 200 else said[:199] + "…"
