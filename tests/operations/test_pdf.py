"""Locked PDFs are told from those that merely forbid printing; too many pages are found."""

from __future__ import annotations

import pytest
from pdf_kit import made

from batchq.operations.pdf import MOST_PAGES, problem


@pytest.mark.parametrize("cipher", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
def test_a_pdf_that_opens_without_a_password_is_read(cipher: str) -> None:
    assert "locked with a password" in str(problem(made(cipher=cipher, password="secret")))
    assert problem(made(cipher=cipher, password="")) is None, "it only forbids printing"


def test_too_many_pages_are_found() -> None:
    assert problem(made(MOST_PAGES)) is None
    assert "1,001 pages" in str(problem(made(MOST_PAGES + 1)))


def test_what_is_not_understood_is_left_to_the_provider() -> None:
    assert problem(b"%PDF-1.7\nno object at all\n%%EOF") is None
