"""What a file is, its content says; what Gemini does not read is converted or refused by name."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batchq.errors import Rejected
from batchq.operations.base import Blob
from batchq.operations.media import MOST_PAGES, media_type, parts_of

RED, BLUE = (255, 0, 0), (0, 0, 255)


def drawn(form: str, *colours: tuple[int, int, int], mode: str = "RGB", **save: Any) -> bytes:
    pages = [Image.new("RGB", (40, 30), colour).convert(mode) for colour in colours or (RED,)]
    out = io.BytesIO()
    more = {"save_all": True, "append_images": pages[1:]} if len(pages) > 1 else {}
    pages[0].save(out, form, **more, **save)
    return out.getvalue()


def inline(part: dict[str, Any]) -> tuple[str, bytes]:
    return part["inlineData"]["mimeType"], part["inlineData"]["data"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (drawn("PNG"), "image/png"),
        (drawn("JPEG"), "image/jpeg"),
        (drawn("WEBP"), "image/webp"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "image/heic"),
        (b"%PDF-1.7\n1 0 obj\nstartxref\n9\n%%EOF\n", "application/pdf"),
        (b"\n  %PDF-1.4\n%%EOF", "application/pdf"),
        (drawn("JPEG", progressive=True) + b"what a camera appends", "image/jpeg"),
        (b"ID3\x04\0\0\0\0\0\0\0\0", "audio/mp3"),
        (b"\xff\xfb\x90\x00" + bytes(50), "audio/mp3"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"fLaC\0\0\0\x22", "audio/flac"),
        (b"OggS\0\x02", "audio/ogg"),
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
    ],
)
def test_an_unreadable_file_fails_by_name(data: bytes, says: str) -> None:
    with pytest.raises(Rejected, match=r"^scans/7\.tif cannot be read: ") as caught:
        parts_of(Blob("scans/7.tif", data))
    assert caught.value.kind == "FILE_UNREADABLE"
    assert says in str(caught.value)


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
