"""What a file is, its content says; what Gemini does not read is converted or refused by name."""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from pdf_kit import made
from PIL import Image

from batchq.core.tokens import AUDIO_BYTES_A_SECOND
from batchq.errors import Rejected
from batchq.operations.base import Blob
from batchq.operations.media import check, media_type, parts_of, tokens_of
from batchq.operations.pictures import MOST_PAGES

RED, BLUE = (255, 0, 0), (0, 0, 255)


def drawn(form: str, *colours: tuple[int, int, int], mode: str = "RGB", **save: Any) -> bytes:
    pages = [Image.new("RGB", (40, 30), colour).convert(mode) for colour in colours or (RED,)]
    out = io.BytesIO()
    more = {"save_all": True, "append_images": pages[1:]} if len(pages) > 1 else {}
    pages[0].save(out, form, **more, **save)
    return out.getvalue()


def inline(part: dict[str, Any]) -> tuple[str, bytes]:
    return part["inlineData"]["mimeType"], part["inlineData"]["data"]


def box(kind: bytes, *inside: bytes) -> bytes:
    content = b"".join(inside)
    return struct.pack(">I", 8 + len(content)) + kind + content


def heic(width: int = 40, height: int = 30) -> bytes:
    size = box(b"ispe", bytes(4), struct.pack(">II", width, height))
    meta = box(b"meta", bytes(4), box(b"iprp", box(b"ipco", size)))
    return box(b"ftyp", b"heic", bytes(4)) + meta + box(b"mdat", bytes(50))


def wav(seconds: float = 1.0) -> bytes:
    sound = bytes(int(16_000 * seconds))
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(sound))
        + b"WAVE"
        + form
        + b"data"
        + struct.pack("<I", len(sound))
        + sound
    )


def ogg(seconds: int = 2) -> bytes:
    head = b"OpusHead\x01\x01\x00\x00" + struct.pack("<I", 48_000) + bytes(3)

    def page(granule: int, content: bytes) -> bytes:
        return b"OggS\0\0" + struct.pack("<qIII", granule, 1, 0, 0) + bytes([1, len(content)]) + content

    return page(0, head) + page(48_000 * seconds, bytes(100))


def m4a(seconds: int = 3) -> bytes:
    header = box(b"mvhd", bytes(12), struct.pack(">II", 1_000, 1_000 * seconds), bytes(80))
    return box(b"ftyp", b"M4A ", bytes(4)) + box(b"moov", header) + box(b"mdat", bytes(60))


MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s at 44.1 kHz
AAC_FRAME = b"\xff\xf1\x50\x40\x0c\x9f\xfc" + bytes(93)  # 100 bytes at 44.1 kHz
FLAC = b"fLaC\0\0\0\x22" + bytes(10) + (44_100 << 44 | 88_200).to_bytes(8) + bytes(20)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (drawn("PNG"), "image/png"),
        (drawn("JPEG"), "image/jpeg"),
        (drawn("WEBP"), "image/webp"),
        (heic(), "image/heic"),
        (b"%PDF-1.7\n1 0 obj\nstartxref\n9\n%%EOF\n", "application/pdf"),
        (b"\n  %PDF-1.4\n%%EOF", "application/pdf"),
        (drawn("JPEG", progressive=True) + b"what a camera appends", "image/jpeg"),
        (b"ID3\x04\0\0\0\0\0\5" + bytes(5) + MP3_FRAME, "audio/mp3"),
        (MP3_FRAME * 2, "audio/mp3"),
        (wav(), "audio/wav"),
        (FLAC, "audio/flac"),
        (ogg(), "audio/ogg"),
        (m4a(), "audio/mp4"),
        (AAC_FRAME * 3, "audio/aac"),
    ],
)
def test_what_gemini_reads_goes_as_it_is_under_the_type_of_its_content(data: bytes, kind: str) -> None:
    [part] = parts_of(Blob("a-wrong-suffix.txt", data))
    assert inline(part) == (kind, data)


@pytest.mark.parametrize(
    "text", ["BMW sent an invoice of 5 €", "ID3 is a tag format", "%PDF? no", "MM* notes"]
)
def test_a_text_that_begins_like_a_picture_is_a_text(text: str) -> None:
    [part] = parts_of(Blob("note.md", text.encode()))
    assert part == {"text": f"File note.md:\n\n{text}"}


def test_a_text_in_utf_16_or_with_a_byte_order_mark_is_read() -> None:
    for encoding in ("utf-16", "utf-8-sig"):
        [part] = parts_of(Blob("n.txt", "Größe".encode(encoding)))
        assert part["text"].endswith("\n\nGröße")


@pytest.mark.parametrize("form", ["TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_a_picture_that_gemini_does_not_read_becomes_a_png_with_the_same_pixels(form: str, mode: str) -> None:
    [part] = parts_of(Blob("scan", drawn(form, BLUE, mode=mode)))
    kind, data = inline(part)
    assert (kind, media_type(data)) == ("image/png", "image/png")
    expected = Image.new("RGB", (40, 30), BLUE).convert(mode).convert("RGB").getpixel((5, 5))
    assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((5, 5)) == expected


def test_a_tiff_with_pages_is_a_part_a_page_in_order() -> None:
    parts = parts_of(Blob("two.tif", drawn("TIFF", RED, BLUE)))
    colours = [Image.open(io.BytesIO(inline(part)[1])).convert("RGB").getpixel((5, 5)) for part in parts]
    assert colours == [RED, BLUE]


def test_a_cmyk_tiff_and_one_of_16_bits_keep_what_they_show() -> None:
    [part] = parts_of(Blob("c.tif", drawn("TIFF", mode="CMYK")))
    assert Image.open(io.BytesIO(inline(part)[1])).mode == "RGB"
    out = io.BytesIO()
    Image.frombytes("I;16", (2, 1), struct.pack("<HH", 0, 40_000)).save(out, "TIFF")
    [part] = parts_of(Blob("grey.tif", out.getvalue()))
    deep = Image.open(io.BytesIO(inline(part)[1]))
    assert (deep.getpixel((0, 0)), deep.getpixel((1, 0))) == (0, 40_000)


def test_an_animated_gif_is_its_first_frame() -> None:
    parts = parts_of(Blob("a.gif", drawn("GIF", RED, BLUE)))
    assert len(parts) == 1
    assert Image.open(io.BytesIO(inline(parts[0])[1])).convert("RGB").getpixel((5, 5)) == RED


def bomb() -> bytes:
    """A bmp whose header claims 60,000 × 60,000 pixels."""
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def png_bomb(side: int) -> bytes:
    """A png whose header claims so many pixels a side."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = drawn("PNG")
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def jpeg_bomb() -> bytes:
    data = drawn("JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 60_000, 60_000) + data[at + 4 :]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"  \n", "there is no text in it"),
        (bytes(range(0x80, 0x90)) + b"\xff\xfe\x80", "neither an image"),
        (b"text\0with a zero", "binary"),
        (drawn("TIFF")[:60], "broken or cut off"),
        (b"GIF89a", "broken or cut off"),
        (drawn("PNG")[:-20], "broken or cut off"),
        (drawn("JPEG")[:-20], "broken or cut off"),
        (drawn("JPEG", progressive=True)[:-20], "broken or cut off"),
        (drawn("WEBP")[:-20], "broken or cut off"),
        (drawn("PNG").replace(b"IDAT", b"IDAX"), "broken or cut off"),
        (b"%PDF-1.7\n1 0 obj\n<< /Type", "the PDF is cut off"),
        (bomb(), "pixels are more than 89,000,000: scale it down"),
        (png_bomb(60_000), "pixels are more than 89,000,000: scale it down"),
        (png_bomb(9_450), "9450 × 9450 pixels are more than 89,000,000: scale it down"),
        (jpeg_bomb(), "pixels are more than 89,000,000: scale it down"),
        (drawn("TIFF", *[RED] * (MOST_PAGES + 1)), "101 pages, more than 100"),
        (heic()[:-20], "broken or cut off"),
        (box(b"ftyp", b"heic", bytes(4)) + box(b"mdat", bytes(50)), "broken or cut off"),
        (heic(60_000, 60_000), "60000 × 60000 pixels are more than 89,000,000"),
        (FLAC[:20], "broken or cut off"),
        (made(cipher="AES-256", password="secret"), "locked with a password"),
    ],
)
def test_an_unreadable_file_fails_by_name(data: bytes, says: str) -> None:
    with pytest.raises(Rejected, match=r"^scans/7\.tif cannot be read: ") as caught:
        parts_of(Blob("scans/7.tif", data))
    with pytest.raises(Rejected, match=re.escape(str(caught.value))):
        check(Blob("scans/7.tif", data))  # at submission
    assert caught.value.kind == "FILE_UNREADABLE"
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("data", "kind", "length_s"),
    [
        (wav(2.5), "audio/wav", 2.5),
        (m4a(9) + box(b"mdat", bytes(3_000)), "audio/mp4", 9.0),
        (FLAC + bytes(1_000), "audio/flac", 2.0),
        (MP3_FRAME * 100, "audio/mp3", 100 * 1152 / 44_100),
        (MP3_FRAME * 5_000, "audio/mp3", 5_000 * 1152 / 44_100),
    ],
)
def test_a_recording_has_32_tokens_a_second_as_its_headers_tell(
    data: bytes, kind: str, length_s: float
) -> None:
    assert media_type(data) == kind
    assert tokens_of(Blob("a", data)) == 32 * math.ceil(length_s)


def test_a_recording_that_does_not_say_how_long_it_is_is_guessed_by_its_size() -> None:
    unfinished = wav(2.5).replace(struct.pack("<I", 40_000), b"\xff\xff\xff\xff")
    for data in (unfinished, AAC_FRAME * 430):
        assert tokens_of(Blob("a", data)) == 32 * math.ceil(len(data) / AUDIO_BYTES_A_SECOND)


@pytest.mark.skipif("BATCHQ_TEST_DATA" not in os.environ, reason="real receipts: set BATCHQ_TEST_DATA")
def test_real_receipts_and_invoices_go_as_they_are() -> None:
    root = Path(os.environ["BATCHQ_TEST_DATA"])
    kinds = set()
    for path in [
        *root.glob("receipts-sroie/*.jpg"),
        *root.glob("invoices-*/*.pdf"),
        *root.glob("invoices-*/*.png"),
    ]:
        [part] = parts_of(Blob(path.name, path.read_bytes()))
        kind, data = inline(part)
        assert data == path.read_bytes()
        kinds.add(kind)
    assert kinds == {"image/jpeg", "application/pdf", "image/png"}
