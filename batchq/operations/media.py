"""A file's bytes as parts of a request. What a file is, its content says, never its name."""

from __future__ import annotations

from contextlib import suppress

from batchq.core import tokens
from batchq.core.records import JsonObject
from batchq.errors import Unsendable
from batchq.operations import pdf, pictures, recordings
from batchq.operations.base import Blob


def parts_of(blob: Blob) -> list[JsonObject]:
    """One part, or one for each page of a tiff. Bytes stay bytes (`inlineData.data`).

    tiff, bmp and gif (its first frame), which Gemini does not read, become png. What `check` refuses is refused.
    Raises Unsendable(FILE_UNREADABLE).
    """
    kind = media_type(blob.data)
    if kind in pictures.CONVERTED:
        try:
            return [_inline("image/png", page) for page in pictures.as_png(blob.data)]
        except ValueError as exc:
            raise _unreadable(blob, str(exc)) from exc
    check(blob)
    if kind is not None:
        return [_inline(kind, blob.data)]
    return [{"text": f"File {blob.name}:\n\n{_text(blob.data)}"}]


def check(blob: Blob) -> None:
    """Raises Unsendable(FILE_UNREADABLE) for a file that cannot be sent: empty, broken, cut off, locked, too many
    pixels or pages, or of a kind that Gemini does not read."""
    try:
        _check(blob.data, media_type(blob.data))
    except ValueError as exc:
        raise _unreadable(blob, str(exc)) from exc


def _check(data: bytes, kind: str | None) -> None:
    if not data:
        raise ValueError("the file is empty")
    if kind is None:
        _text(data)
    elif kind == "application/pdf":
        if problem := pdf.problem(data):
            raise ValueError(problem)
    elif kind.startswith("audio/"):
        recordings.seconds(data)
    else:
        pictures.check(data, kind)


def tokens_of(blob: Blob) -> int:
    """Input tokens that Gemini will count for it, about."""
    kind = media_type(blob.data)
    length_s = None
    if kind is not None and kind.startswith("audio/"):
        with suppress(ValueError):
            length_s = recordings.seconds(blob.data)
    return tokens.of_file(blob.data, kind, length_s)


def media_type(data: bytes) -> str | None:
    """The MIME type by the first bytes; None: none of those we know, so perhaps text."""
    for magic, kind in MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(data[8:12])
    if data[4:8] == b"ftyp":
        return FTYP.get(data[8:12]) or (None if b"vide" in data else "audio/mp4")
    if data[:1024].lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"%PDF-"):
        return "application/pdf"
    if data[:2] == b"BM" and len(data) > 26 and data[6:10] == bytes(4):  # not a text that begins with BM
        return "image/bmp"
    if data[:3] == b"ID3" and len(data) > 10 and data[3] < 0x10:
        return "audio/mp3"
    if data[0:1] == b"\xff" and len(data) > 2 and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 == 0x02:
        return "audio/mp3"  # an MPEG layer III frame without ID3 tag
    if data[0:1] == b"\xff" and len(data) > 7 and data[1] & 0xF6 == 0xF0:
        return "audio/aac"  # an ADTS frame, whose layer is always 0
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


def _inline(kind: str, data: bytes) -> JsonObject:
    return {"inlineData": {"mimeType": kind, "data": data}}


def _text(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(
            "it is neither an image, PDF or audio file that Gemini reads, nor UTF-8 text"
        ) from None
    if "\0" in text:
        raise ValueError("it is binary, of a kind that Gemini does not read")
    if not text.strip():
        raise ValueError("there is no text in it")
    return text


def _unreadable(blob: Blob, why: str) -> Unsendable:
    return Unsendable(f"{_shown(blob.name)} cannot be read: {_shown(why)}", kind="FILE_UNREADABLE")


def _shown(text: str) -> str:
    said = "".join(c if c.isprintable() else " " for c in text)
    return said if len(said) <= 200 else said[:199] + "…"
