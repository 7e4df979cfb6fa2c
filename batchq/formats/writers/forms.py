"""The forms of a results file: each turns results into bytes, one result at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator

from batchq.core.records import Json, Result
from batchq.formats.writers.lines import encode, result_line, result_row, utf8

COLUMNS = ("id", "status", "text", "data", "error", "attempts", "duration_ms", "tokens", "cost")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def jsonl(results: Iterable[Result]) -> Iterator[bytes]:
    """A line a result, as Gemini's Batch API writes them."""
    for result in results:
        yield encode(result_line(result)) + b"\n"


def json_list(results: Iterable[Result]) -> Iterator[bytes]:
    """One JSON list of rows, a row a line."""
    before = b"[\n"
    for result in results:
        yield before + encode(result_row(result))
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def csv_table(results: Iterable[Result]) -> Iterator[bytes]:
    """A header and a row a result; `data` as JSON, `error` as `STATUS: message`."""
    yield _csv_row(COLUMNS)
    for result in results:
        row = result_row(result)
        error = row["error"]
        yield _csv_row(
            (
                _cell(row["id"]),
                row["status"],
                _cell(row["text"]),
                _cell(None if row["data"] is None else encode(row["data"]).decode()),
                _cell(None if error is None else f"{error['status']}: {error['message']}"),
                row["attempts"],
                row["duration_ms"],
                row["tokens"],
                row["cost"],
            )
        )


FORM_WRITERS: dict[str, Callable[[Iterable[Result]], Iterator[bytes]]] = {
    "jsonl": jsonl,
    "json": json_list,
    "csv": csv_table,
}


def _csv_row(cells: Iterable[Json]) -> bytes:
    out = io.StringIO(newline="")
    # RFC 4180's line end: with "\n" alone, Python before 3.13 leaves a carriage return in a cell unquoted.
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return utf8(out.getvalue())


def _cell(text: str | None) -> str | None:
    """A text that a spreadsheet shows and never runs; NUL, which ends the file for some readers, is replaced."""
    if text is None:
        return None
    text = text.replace("\0", "\ufffd")
    return f"'{text}" if text.startswith(_FORMULA) else text
