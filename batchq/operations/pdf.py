"""What keeps a PDF from being read, as far as its outline tells."""

from __future__ import annotations

import io

MOST_PAGES = 1_000  # that Gemini reads of one document
TAIL = 2_048  # bytes at the end in which the trailer must stand; readers look through 1,024


def problem(data: bytes) -> str | None:
    """What is wrong with it and what to do; None: nothing that can be told here, so the provider will say.

    A PDF that only forbids printing or copying opens without a password, and is read.
    """
    from pypdf import PasswordType, PdfReader

    tail = data[-TAIL:]
    if b"%%EOF" not in tail and b"startxref" not in tail:
        return "the PDF is cut off, its trailer is missing: send the whole file"
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
            return "the PDF is locked with a password: save it without one"
        pages = reader.get_num_pages()
    except Exception:  # whatever it is that pypdf does not read: Gemini may
        return None
    return (
        f"it has {pages:,} pages, more than the {MOST_PAGES:,} that Gemini reads: split it"
        if pages > MOST_PAGES
        else None
    )
