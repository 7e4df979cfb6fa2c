"""Printing. Answers go to stdout, messages and progress to stderr; nothing that came from outside reaches a
terminal unescaped."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, cast

from batchq.core.wording import Row, lines, one_line

# what json.dumps leaves as it is and a terminal may obey or a line reader may take for an end
_C1 = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F))} | {
    code: f"\\u{code:04x}" for code in (*range(0x2066, 0x206A), *range(0xD800, 0xE000))
}


def note(text: str = "") -> None:
    """A message for people. A stderr that is gone is no reason to fail."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(lines(text) + "\n")
        sys.stderr.flush()


def error(text: str) -> None:
    note(f"error: {text}")


def out(text: str) -> None:
    """A line of the answer."""
    sys.stdout.write(lines(text) + "\n")
    sys.stdout.flush()


def document(value: Any) -> None:
    """The one JSON document of --json."""
    sys.stdout.write(to_json(value, indent=2) + "\n")
    sys.stdout.flush()


def json_line(value: Any) -> None:
    """A line of a list with --json."""
    sys.stdout.write(to_json(value) + "\n")


def to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent).translate(_C1)


def rows(pairs: Iterable[Row], *, to_stderr: bool = False) -> None:
    """Labels and values in two columns; a label that repeats stands once."""
    before = None
    pairs = list(pairs)
    width = max((len(label) for label, _ in pairs), default=0)
    for label, value in pairs:
        shown = "" if label == before else label
        (note if to_stderr else out)(f"{shown:<{width}}  {one_line(value)}")
        before = label


def table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one as it comes."""
    cells = [list(heads), *([one_line(cell) for cell in row] for row in body)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads) - 1)]
    for row in cells:
        padded = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        out("  ".join([*padded, row[-1]]).rstrip())


def stdout_bytes() -> BinaryIO:
    """Where results go: the bytes as they are, but escaped when a terminal would read them."""
    if sys.stdout.isatty():
        return cast("BinaryIO", _Terminal())
    return sys.stdout.buffer


class _Terminal:
    """Takes lines of UTF-8."""

    def write(self, part: bytes) -> int:
        text = part.decode(errors="replace").replace("\r\n", "\n")
        sys.stdout.write(lines(text))
        return len(part)

    def flush(self) -> None:
        sys.stdout.flush()
