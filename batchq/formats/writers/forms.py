"""The forms of a results file: each turns results into bytes, one result at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator

from batchq.core.records import Json, Result
from batchq.formats.writers.flat import Fields, columns_of, flat_row
from batchq.formats.writers.lines import encode, result_line, result_row, utf8
from batchq.formats.writers.parquet import parquet_table

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")  # full-width ones too


def jsonl(results: Iterable[Result], fields: Fields) -> Iterator[bytes]:  # noqa: ARG001
    """A line a result, as Gemini's Batch API writes them."""
    for result in results:
        yield encode(result_line(result)) + b"\n"


def json_list(results: Iterable[Result], fields: Fields) -> Iterator[bytes]:  # noqa: ARG001
    """One JSON list of rows, a row a line."""
    before = b"[\n"
    for result in results:
        yield before + encode(result_row(result))
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def csv_table(results: Iterable[Result], fields: Fields) -> Iterator[bytes]:
    """A header and a row a result; `data` as JSON, `error` as `STATUS: message`."""
    columns = columns_of(fields)
    yield _csv_row(_cell(column.name) for column in columns)
    for result in results:
        row = flat_row(result, fields)
        yield _csv_row(_cell(row[column.name]) for column in columns)


FORM_WRITERS: dict[str, Callable[[Iterable[Result], Fields], Iterator[bytes]]] = {
    "jsonl": jsonl,
    "json": json_list,
    "csv": csv_table,
    "parquet": parquet_table,
}


def _csv_row(cells: Iterable[Json]) -> bytes:
    out = io.StringIO(newline="")
    # RFC 4180's line end: with "\n" alone, Python before 3.13 leaves a carriage return in a cell unquoted.
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return utf8(out.getvalue())


def _cell(value: Json) -> Json:
    """A text that a spreadsheet shows and never runs; NUL, which ends the file for some readers, is replaced.

    Numbers stay numbers; true and false are JSON's.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "\ufffd")
    return f"'{text}" if text.startswith(_FORMULA) else text
