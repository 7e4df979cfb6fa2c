"""Locked PDFs are told from those that merely forbid printing; too many and too large pages are found."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from batchq.operations.pdf import LONGEST_SIDE, MOST_PAGES, problem

PDFS = sorted((Path(__file__).parent / "pdfs").glob("*.pdf"))
HEAD, TAIL = b"%PDF-1.7\n", b"\ntrailer << /Root 1 0 R >>\nstartxref\n9\n%%EOF\n"


@pytest.mark.parametrize("path", PDFS, ids=lambda path: path.stem)
def test_a_pdf_that_opens_without_a_password_is_read(path: Path) -> None:
    """A locked and an open one of each of the five ciphers, made by pypdf."""
    locked = path.stem.endswith("-locked")
    assert (problem(path.read_bytes()) is not None) is locked


def test_strings_in_parentheses_are_read_as_those_in_hexadecimal() -> None:
    escapes = {b"(": b"\\(", b")": b"\\)", b"\\": b"\\\\", b"\r": b"\\r", b"\n": b"\\012"}
    for path in PDFS:
        data = path.read_bytes()
        start = data.index(b"/U <") + 4
        end = data.index(b">", start)
        raw = bytes.fromhex(data[start:end].decode())
        text = b"".join(escapes.get(raw[at : at + 1], raw[at : at + 1]) for at in range(len(raw)))
        spelt = data[: start - 1] + b"(" + text + b")" + data[end + 1 :]
        assert problem(spelt) == problem(data)


def test_a_lock_that_is_not_understood_is_left_to_the_provider() -> None:
    data = (PDFS[0].parent / "aes-256-locked.pdf").read_bytes()
    assert problem(data.replace(b"/R 6", b"/R 9")) is None
    assert problem(data.replace(b"/Standard", b"/Adobe.PPKLite")) is None
    assert problem(data.replace(b"/U <", b"/X <")) is None


def packed(objects: bytes) -> bytes:
    return (
        b"5 0 obj << /Type /ObjStm /Filter /FlateDecode >>\nstream\n"
        + zlib.compress(objects)
        + b"\nendstream"
    )


@pytest.mark.parametrize("pack", [bytes, packed])
def test_too_many_and_too_large_pages_are_found_also_among_packed_objects(pack: object) -> None:
    def made(objects: bytes) -> bytes:
        return HEAD + pack(objects) + TAIL  # type: ignore[operator]

    page = b"<< /Type /Page /MediaBox [0 0 595 842] >>\n"
    assert problem(made(page * MOST_PAGES)) is None
    assert "1,001 pages" in str(problem(made(page * (MOST_PAGES + 1))))
    assert problem(made(b"<< /Type /Pages /Count 9 >>" + page)) is None
    huge = b"<< /Type/Page /MediaBox[ -10 0 %d 842.5 ] >>"
    assert problem(made(huge % (LONGEST_SIDE - 10))) is None
    assert "over 14,400 points" in str(problem(made(huge % LONGEST_SIDE)))
