"""Physical lines of an untrusted stream of bytes: strict UTF-8, bounded memory, counted from 1."""

from __future__ import annotations

import codecs
import itertools
import re
import shlex
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from batchq.errors import InputError
from batchq.formats.addresses import is_address

STDIN = "standard input"
MAX_LINE_BYTES = 64 * 2**20
_SKIP_BYTES = 2**30  # how far the end of a line that is too long is looked for; a stream may have none
_CHUNK = 2**20

# Magic numbers and what to do about them: (bytes, what it is, remedy).
_BINARY = (
    (b"\x1f\x8b", "gzip-compressed", "zcat {} | batchq run -"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "zstdcat {} | batchq run -"),
    (b"BZh", "bzip2-compressed", "bzcat {} | batchq run -"),
    (b"\xfd7zXZ\x00", "xz-compressed", "xzcat {} | batchq run -"),
    (b"PK\x03\x04", "a zip archive (or an Office document)", "unpack it, or export the sheet as CSV"),
    (b"%PDF-", "a PDF", "batchq run {} --input-format files"),
    (b"\x89PNG", "an image", "batchq run {} --input-format files"),
    (b"\xff\xd8\xff", "an image", "batchq run {} --input-format files"),
    (b"PAR1", "a Parquet file", "batchq run {} --input-format parquet"),
    (b"SQLite format 3", "an SQLite database", "batchq run sqlite:///{} --query 'SELECT …'"),
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no text; the reader makes a complaint of it and goes on."""

    problem: str
    text: str = "\n"  # what can be made of it, for a reader that must find the end of a quoted cell


class Lines:
    """Iterable once: each physical line as text with its line ending, or Unreadable.

    Raises InputError where the whole stream cannot be meant (UTF-16, compressed, binary) or breaks off.
    """

    def __init__(self, stream: BinaryIO, source: str) -> None:
        self._stream = stream
        self._source = source
        self._lines = self._decoded()
        self._blank = 0  # lines before the first one
        self._first: str | Unreadable | None = None

    def first(self) -> str | None:
        """The first line that is not blank, without taking it away; None: there is none.

        Empty for one that is no text. Ask before iterating.
        """
        while self._first is None:
            line = next(self._lines, None)
            if line is None:
                return None
            if isinstance(line, str) and line.isspace():
                self._blank += 1
            else:
                self._first = line
        return self._first if isinstance(self._first, str) else ""

    def __iter__(self) -> Iterator[str | Unreadable]:
        first = () if self._first is None else (self._first,)
        return itertools.chain(itertools.repeat("\n", self._blank), first, self._lines)

    def close(self) -> None:
        """Stop reading. Standard input stays open: it is not ours."""
        self._lines.close()
        if self._source != STDIN:
            self._stream.close()

    def _decoded(self) -> Generator[str | Unreadable, None, None]:
        lines = iter(partial(self._stream.readline, MAX_LINE_BYTES + 1), b"")
        try:
            start = next(lines, b"")
            self._refuse_foreign(start)
            for raw in itertools.chain((start.removeprefix(codecs.BOM_UTF8),), lines):
                if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                    found = self._skip_rest()
                    yield Unreadable(_too_long(found))
                    if not found:
                        return
                elif b"\0" in raw:
                    yield Unreadable(
                        "it holds a NUL byte: is this a binary file?", raw.decode(errors="replace")
                    )
                elif raw:
                    try:
                        text = raw.decode()
                    except UnicodeDecodeError as exc:
                        yield Unreadable(_not_utf8(exc, self._source), raw.decode(errors="replace"))
                    else:
                        yield text
        except OSError as exc:
            raise InputError(f"{self._source} could not be read to its end: {exc.strerror or exc}") from exc

    def _skip_rest(self) -> bool:
        """Go to the end of a line that is too long; False: there was none within 1 GB."""
        skipped = MAX_LINE_BYTES
        while chunk := self._stream.readline(_CHUNK):
            if chunk.endswith(b"\n"):
                return True
            skipped += len(chunk)
            if skipped > _SKIP_BYTES:
                return False
        return True

    def _refuse_foreign(self, start: bytes) -> None:
        name = _in_shell(self._source)
        for magic, what, remedy in _BINARY:
            if start.startswith(magic):
                raise InputError(f"{self._source} is {what}, not lines of text: {remedy.format(name)}")
        encoding = _wide_encoding(start)
        if encoding:
            raise InputError(
                f"{self._source} is {encoding}, not UTF-8: iconv -f {encoding} -t UTF-8 {name} | batchq run -"
            )


def _in_shell(source: str) -> str:
    """A file's name as a command takes it."""
    return "FILE" if source == STDIN or is_address(source) else shlex.quote(source)


def _wide_encoding(start: bytes) -> str | None:
    """UTF-16 or UTF-32 by its byte order mark, else by the NUL bytes of its ASCII characters."""
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16: its mark starts with UTF-16's
        (codecs.BOM_UTF32_BE, "UTF-32"),
        (codecs.BOM_UTF16_LE, "UTF-16"),
        (codecs.BOM_UTF16_BE, "UTF-16"),
    ):
        if start.startswith(mark):
            return encoding
    if re.match(rb"(?:[^\0]\0){4}", start):
        return "UTF-16LE"
    return "UTF-16BE" if re.match(rb"(?:\0[^\0]){4}", start) else None


def _too_long(end_found: bool) -> str:
    problem = f"longer than {MAX_LINE_BYTES // 2**20} MB"
    if end_found:
        return f"{problem}: keep large content in files and name them"
    return f"{problem}, and no end of it within {_SKIP_BYTES // 2**30} GB: reading stops here"


def _not_utf8(exc: UnicodeDecodeError, source: str) -> str:
    name = _in_shell(source)
    return (
        f"not UTF-8 at byte {exc.start + 1}: save it as UTF-8, "
        f"or iconv -f WINDOWS-1252 -t UTF-8 {name} | batchq run -"
    )
