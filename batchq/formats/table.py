"""CSV: a header, then a row an item. Delimiter `,`, `;` or tab, whichever splits the header into the most names."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats.columns import check_columns
from batchq.formats.items import BadRow, ItemMaker
from batchq.formats.lines import MAX_LINE_BYTES, Lines, Unreadable
from batchq.formats.words import shown

DELIMITERS = (",", ";", "\t")


def split_header(line: str) -> tuple[list[str], str]:
    """The names of a header line and its delimiter. Raises csv.Error."""
    tries = [(next(csv.reader([line], delimiter=mark), []), mark) for mark in DELIMITERS]
    return max(tries, key=lambda found: len(found[0]))


class Table:
    """The rows of a CSV file. `columns` is its header."""

    def __init__(self, lines: Lines, maker: ItemMaker) -> None:
        """Reads the header. Raises InputError for one that no row could go by."""
        # Process-wide, as the csv module has it; its 128 kB default is less than a prompt may be.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
        self._maker = maker
        self._source = _Source(lines)
        first = lines.first() or ""
        try:
            self._rows = csv.reader(self._source, delimiter=split_header(first)[1], strict=True)
            self.columns = next((row for row in self._rows if not _blank(row)), [])
        except csv.Error as exc:
            raise InputError(f"the CSV header cannot be read: {exc}") from None
        if self._source.spoilt:
            raise InputError(f"the CSV header cannot be read: {self._source.spoilt}")
        self._check_header()
        check_columns(self.columns, maker, "the CSV file")

    def __iter__(self) -> Iterator[Item | Complaint]:
        row = 0
        while True:
            start = self._source.number + 1
            self._source.start_row()
            try:
                cells = next(self._rows)
            except StopIteration:
                return
            except csv.Error as exc:
                row += 1
                yield Complaint(f"line {start}", self._source.spoilt or _reason(str(exc)), row)
                continue
            if _blank(cells) and not self._source.spoilt:
                continue
            row += 1
            yield self._item(cells, row, f"line {start}")

    def _item(self, cells: list[str], row: int, place: str) -> Item | Complaint:
        if self._source.spoilt:
            return Complaint(place, self._source.spoilt, row)
        if len(cells) != len(self.columns):
            problem = (
                f"{len(cells)} columns where the header has {len(self.columns)}: quote cells that hold "
                "delimiters or quotes"
            )
            return Complaint(place, problem, row)
        try:
            return self._maker.of_columns(dict(zip(self.columns, cells, strict=True)), row, place)
        except BadRow as exc:
            return Complaint(place, str(exc), row)

    def _check_header(self) -> None:
        for number, name in enumerate(self.columns, 1):
            if not name.strip():
                raise InputError(
                    f"CSV column {number} has no name: name it in the header (pandas: to_csv(index=False))"
                )
            if name in self.columns[: number - 1]:
                raise InputError(f"the CSV header names {shown(name)} twice: rename one")


class _Source:
    """Lines for csv.reader, which cannot be told of a bad one: it gets what is left of it, and the row is spoilt."""

    def __init__(self, lines: Lines) -> None:
        self._lines = iter(lines)
        self.number = 0  # of the physical line last given, from 1
        self.spoilt: str | None = None  # what is wrong with a line of the row being read
        self._row_size = 0

    def start_row(self) -> None:
        self.spoilt, self._row_size = None, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if isinstance(line, Unreadable):
            self.spoilt = self.spoilt or line.problem
            line = line.text
        self._row_size += len(line)
        if self._row_size > MAX_LINE_BYTES:
            # An error, so that csv.reader drops what it has gathered; it starts afresh with the next line.
            raise csv.Error("unexpected end of data")
        return line


def _blank(cells: list[str]) -> bool:
    """A line of nothing. A row of empty cells is a row: it is told, not dropped."""
    return not cells or (len(cells) == 1 and cells[0].isspace())


def _reason(message: str) -> str:
    if "unexpected end of data" in message:
        return "a quote that opens here never closes: close it, and double quotes inside of cells"
    if "expected after" in message:
        return "a quote inside of a quoted cell: double it"
    if "new-line character" in message:
        return "a carriage return stands alone: write line feeds (tr '\\r' '\\n'), or quote the cell"
    return f"not CSV: {message}"
