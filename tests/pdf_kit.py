"""PDFs as pypdf writes them."""

from __future__ import annotations

import io

from pypdf import PdfWriter


def made(pages: int = 1, *, cipher: str | None = None, password: str = "") -> bytes:
    """With a cipher it is locked, and opens with that password; its owner's is another."""
    writer, out = PdfWriter(), io.BytesIO()
    for _ in range(pages):
        writer.add_blank_page(595, 842)
    if cipher is not None:
        writer.encrypt(password, owner_password="owner", algorithm=cipher)
    writer.write(out)
    return out.getvalue()
