"""From what the user names to a stream of items: find the form, open it once, read it through."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats.addresses import is_address, is_database, local_path, masked
from batchq.formats.fetch import fetched
from batchq.formats.files import read_files
from batchq.formats.forms import form_by_name, form_of_json, form_of_stream, is_file_form
from batchq.formats.items import ItemMaker
from batchq.formats.jsonl import read_jsonl
from batchq.formats.lines import STDIN, Lines
from batchq.formats.parquet import ParquetRows
from batchq.formats.places import Folder
from batchq.formats.remote import Remote
from batchq.formats.spec import FORMATS, InputSpec
from batchq.formats.table import Table
from batchq.formats.template import Template
from batchq.formats.text import read_text
from batchq.formats.trees import Skipped, read_tree
from batchq.formats.words import listed, meant, shown

REVIEW = "review"  # the operation whose folders are trees of source code
_JSON_LINES = {
    "gemini": "Gemini Batch JSON lines",
    "openai": "OpenAI Batch JSON lines",
    "batchq": "JSON lines",
}


class Reading:
    """The items of one input, in order. Iterable once, as a stream; a context manager that closes the input.

    `format` is one of spec.FORMATS, or sql; `described` a phrase for the user ("CSV, 3 columns"). `folder` is the real
    path of the folder that the items' files stand in: INPUT itself, or the list's own. `skipped` says what of a tree
    of source code was left out, once it is read.
    A Complaint takes the place of a row that breaks the list; its `row` counts rows that hold something, from
    1, as the ids of items that bring none do. Reading goes on after it, so that all can be counted.
    """

    def __init__(
        self,
        format: str,
        described: str,
        folder: str,
        rows: Iterator[Item | Complaint],
        close: Callable[[], None] = lambda: None,
        skipped: Skipped | None = None,
    ) -> None:
        self.skipped = skipped or Skipped()
        self.format, self.described, self.folder = format, described, folder
        self._rows: Iterator[Item | Complaint] | None = rows
        self._close = close

    def __iter__(self) -> Iterator[Item | Complaint]:
        if self._rows is None:
            raise RuntimeError("this input was read already: open it again with read()")
        rows, self._rows = self._rows, None
        return self._through(rows)

    def _through(self, rows: Iterator[Item | Complaint]) -> Iterator[Item | Complaint]:
        try:
            yield from rows
        finally:
            self.close()

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(spec: InputSpec, stdin: BinaryIO | None = None) -> Reading:
    """Open an input and find its form; the first row is read. `stdin` stands in for sys.stdin.buffer.

    Raises InputError, with nothing left open, for what cannot be read as a list at all: not there, empty,
    a form that is not known, a template or --id-field that does not fit it.
    """
    _refuse_unknown(spec)
    template = Template(spec.prompt) if spec.prompt is not None else None
    if is_database(spec.source):
        return _read_query(spec, template)
    path = local_path(spec.source)
    if path is not None:
        spec = replace(spec, source=path)
    if spec.source != "-" and not is_address(spec.source):
        source = _found(spec)
        if _is_files(spec, source):
            return _read_files(spec, source, template)
    if spec.glob is not None:
        raise InputError(f"--glob picks files of a folder, and {_name(spec)} is none: leave it out")
    form = _form_by_name(spec)
    # The list's own folder is that of the path as given: a link elsewhere does not move it.
    own = "." if spec.source == "-" or is_address(spec.source) else str(Path(spec.source).parent)
    maker = ItemMaker(template, spec.id_field, Folder.of(spec.folder or own, spec.roots))
    if form == "parquet":
        return _read_parquet(spec, _stream(spec, stdin, seeking=True), maker)
    lines = Lines(_stream(spec, stdin), STDIN if spec.source == "-" else masked(spec.source))
    try:
        return _read_lines(spec, form, lines, maker)
    except BaseException:
        lines.close()
        raise


def _stream(spec: InputSpec, stdin: BinaryIO | None, *, seeking: bool = False) -> BinaryIO:
    if spec.source == "-":
        return stdin if stdin is not None else sys.stdin.buffer
    if is_address(spec.source):
        return fetched(spec.source) if spec.apart else Remote(spec.source).opened(seeking=seeking)
    return _opened(spec.source)


def _read_lines(spec: InputSpec, form: str | None, lines: Lines, maker: ItemMaker) -> Reading:
    first = lines.first()
    if first is None:
        raise InputError(f"there is nothing in {_name(spec)}: it holds no line that is not blank")
    if form is None:
        form = form_of_stream(spec, first)
    elif form == "jsonl":
        form = form_of_json(first)
    rows: Iterator[Item | Complaint]
    if form == "csv":
        table = Table(lines, maker)
        rows, described = iter(table), f"CSV, {_count(len(table.columns), 'column')}"
    elif form == "text":
        rows, described = read_text(lines, maker), "text, a line an item"
    else:
        if form != "batchq" and maker.template is not None:
            raise InputError(
                f"--prompt is for rows, and {_JSON_LINES[form]} bring whole requests: leave it out"
            )
        rows, described = read_jsonl(lines, maker, form), _JSON_LINES[form]
    return Reading(form, described, maker.folder.path, _not_empty(rows, _name(spec)), lines.close)


def _read_parquet(spec: InputSpec, file: BinaryIO, maker: ItemMaker) -> Reading:
    try:
        if spec.source == "-":
            raise InputError("Parquet is read from its end, which standard input has not: name the file")
        table = ParquetRows(file, maker, _name(spec))
        rows = _not_empty(iter(table), _name(spec))
    except BaseException:
        if spec.source != "-":
            file.close()
        raise
    described = f"Parquet, {_count(table.count, 'row')} of {_count(len(table.columns), 'column')}"
    return Reading("parquet", described, maker.folder.path, rows, file.close)


def _read_query(spec: InputSpec, template: Template | None) -> Reading:
    from batchq.formats.sql.engine import Place
    from batchq.formats.sql.query import QueryRows

    if spec.query is None:
        raise InputError(f"{_name(spec)} is a database: name what to read with --query 'SELECT …'")
    if spec.glob is not None:
        raise InputError(f"--glob picks files of a folder, and {_name(spec)} is none: leave it out")
    if spec.format is not None:
        raise InputError("--input-format is for files, and a query has rows already: leave it out")
    place = Place(spec.source)
    folder = Folder.of(str(place.path.parent) if place.path is not None else ".", spec.roots)
    table = QueryRows(place, spec.query, ItemMaker(template, spec.id_field, folder))
    try:
        rows = _not_empty(iter(table), f"what the query finds in {_name(spec)}")
    except BaseException:
        table.close()
        raise
    described = f"{place.kind} query, {_count(len(table.columns), 'column')}"
    return Reading("sql", described, folder.path, rows, table.close)


def _read_files(spec: InputSpec, source: Path, template: Template | None) -> Reading:
    if spec.id_field is not None:
        raise InputError("--id-field needs named fields; a file's id is its relative path: leave it out")
    skipped = Skipped()
    of_code = spec.operation == REVIEW and source.is_dir()
    if of_code:
        rows = read_tree(spec.source, spec.glob, template, skipped)
    else:
        rows = read_files(spec.source, spec.glob, template)
    what = f"files of {_name(spec)} that match {shown(spec.glob)}" if spec.glob else _name(spec)
    folder = source if source.is_dir() else source.parent
    described = "folder, a file an item" if source.is_dir() else "one file"
    if of_code:
        described = "source code, a file an item"
    return Reading("files", described, os.path.realpath(folder), _not_empty(rows, what), skipped=skipped)


def _not_empty(rows: Iterator[Item | Complaint], name: str) -> Iterator[Item | Complaint]:
    """The same rows. Raises InputError now where there is none: before anything else is begun."""
    first = next(rows, None)
    if first is None:
        raise InputError(f"there is nothing in {name}: not one item")

    def again() -> Iterator[Item | Complaint]:
        yield first
        yield from rows

    return again()


def _refuse_unknown(spec: InputSpec) -> None:
    if spec.format is not None and spec.format not in FORMATS:
        raise InputError(
            f"--input-format {shown(spec.format)} is not known{meant(spec.format, FORMATS)} Known: {listed(FORMATS)}"
        )
    if spec.query is not None and not is_database(spec.source):
        raise InputError(
            f"--query is for databases, and {_name(spec)} is none: write sqlite:///path or postgresql://…"
        )


def _form_by_name(spec: InputSpec) -> str | None:
    """The form that is asked for, or that the name tells; None: the stream's first line must tell."""
    if spec.format is None and spec.source == "-":
        return None
    form = spec.format or form_by_name(spec.source)
    if form == "files":  # a folder or file of this machine went another way
        raise InputError(f"{_name(spec)}: files are read by path: download it, or copy it to this machine")
    return form


def _found(spec: InputSpec) -> Path:
    """The path, which exists and can be read as a file or a folder."""
    path = Path(spec.source)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        hint = (
            "; for files by pattern: batchq run FOLDER --glob 'PATTERN'"
            if set("*?[") & set(spec.source)
            else ""
        )
        raise InputError(f"there is no file or folder {shown(spec.source)}{hint}") from None
    except (OSError, ValueError) as exc:
        raise InputError(f"{shown(spec.source)} cannot be read: {_why(exc)}") from None
    passed_on = spec.source.startswith(("/dev/fd/", "/proc/self/fd/", "/dev/stdin"))  # <(command) of a shell
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode) and not passed_on:
        # Opening a FIFO waits for whoever writes it, perhaps for ever.
        raise InputError(f"{shown(spec.source)} is no regular file: cat it into `batchq run -`")
    return path


def _is_files(spec: InputSpec, path: Path) -> bool:
    if path.is_dir():
        if spec.format not in (None, "files"):
            raise InputError(
                f"{shown(spec.source)} is a folder, and --input-format {spec.format} reads one file: name the file"
            )
        return True
    return spec.format == "files" or (spec.format is None and is_file_form(spec.source))


def _opened(source: str) -> BinaryIO:
    try:
        return Path(source).open("rb", buffering=2**20)
    except OSError as exc:
        raise InputError(f"{shown(source)} cannot be read: {_why(exc)}") from None


def _why(exc: Exception) -> str:
    return (exc.strerror or str(exc)).lower() if isinstance(exc, OSError) else str(exc)


def _name(spec: InputSpec) -> str:
    return STDIN if spec.source == "-" else shown(masked(spec.source))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
