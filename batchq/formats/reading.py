"""From what the user names to a stream of items: find the form, open it once, read it through."""

from __future__ import annotations

import csv
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats import openai
from batchq.formats.files import read_files
from batchq.formats.items import ItemMaker
from batchq.formats.jsonl import read_jsonl
from batchq.formats.lines import STDIN, Lines
from batchq.formats.places import Folder
from batchq.formats.spec import FORMATS, InputSpec
from batchq.formats.table import OWN_COLUMNS, Table, split_header
from batchq.formats.template import Template
from batchq.formats.text import read_text
from batchq.formats.words import listed, meant, shown

_BY_SUFFIX = {
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".txt", ".text"), "text"),
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif"), "files"
    ),
    **dict.fromkeys(
        (".pdf", ".mp3", ".wav", ".flac", ".ogg", ".m4a", ".aac", ".mp4", ".mov", ".webm"), "files"
    ),
}
_LATER = {"parquet": "Parquet files"}
_JSON_LINES = {
    "gemini": "Gemini Batch JSON lines",
    "openai": "OpenAI Batch JSON lines",
    "batchq": "JSON lines",
}
_LATER_SUFFIX = {".parquet": "Parquet files", ".pq": "Parquet files"}
_PACKED = {".gz": "zcat", ".zst": "zstdcat", ".bz2": "bzcat", ".xz": "xzcat"}


class Reading:
    """The items of one input, in order. Iterable once, as a stream; a context manager that closes the input.

    `format` is one of spec.FORMATS, `described` a phrase for the user ("CSV, 3 columns"). `folder` is the real
    path of the folder that the items' files stand in: INPUT itself, or the list's own.
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
    ) -> None:
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
    if spec.source != "-":
        source = _found(spec)
        if _is_files(spec, source):
            return _read_files(spec, source, template)
    if spec.glob is not None:
        raise InputError(f"--glob picks files of a folder, and {shown(spec.source)} is none: leave it out")
    if spec.source == "-":
        lines = Lines(stdin if stdin is not None else sys.stdin.buffer, STDIN)
        folder = Folder.of(".", spec.roots)
    else:
        lines = Lines(_opened(spec.source), spec.source)
        # The list's own folder is that of the path as given: a link elsewhere does not move it.
        folder = Folder.of(str(Path(spec.source).parent), spec.roots)
    try:
        return _read_lines(spec, lines, ItemMaker(template, spec.id_field, folder))
    except BaseException:
        lines.close()
        raise


def _read_lines(spec: InputSpec, lines: Lines, maker: ItemMaker) -> Reading:
    first = lines.first()
    if first is None:
        raise InputError(f"there is nothing in {_name(spec)}: it holds no line that is not blank")
    form = spec.format or _form(spec, first)
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


def _read_files(spec: InputSpec, source: Path, template: Template | None) -> Reading:
    if spec.id_field is not None:
        raise InputError("--id-field needs named fields; a file's id is its relative path: leave it out")
    rows = read_files(spec.source, spec.glob, template)
    what = f"files of {_name(spec)} that match {shown(spec.glob)}" if spec.glob else _name(spec)
    folder = source if source.is_dir() else source.parent
    described = "folder, a file an item" if source.is_dir() else "one file"
    return Reading("files", described, os.path.realpath(folder), _not_empty(rows, what))


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
    if "://" in spec.source:
        raise InputError(f"{shown(spec.source)} is a URL, which is not supported yet: download it first")
    if spec.format in _LATER:
        raise InputError(
            f"{_LATER[spec.format]} are not supported yet; --input-format knows {listed(FORMATS)}"
        )
    if spec.format is not None and spec.format not in FORMATS:
        raise InputError(
            f"--input-format {shown(spec.format)} is not known{meant(spec.format, FORMATS)} Known: {listed(FORMATS)}"
        )


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
    return spec.format == "files" or (spec.format is None and _BY_SUFFIX.get(path.suffix.lower()) == "files")


def _form(spec: InputSpec, first: str) -> str:
    if spec.source == "-":
        return _form_of_stream(spec, first)
    suffix = Path(spec.source).suffix.lower()
    form = _BY_SUFFIX.get(suffix)
    if form == "jsonl":
        return _form_of_json(first)
    if form is not None:
        return form
    if suffix in _PACKED:
        raise InputError(f"{spec.source} is compressed: {_PACKED[suffix]} {spec.source} | batchq run -")
    if suffix in _LATER_SUFFIX:
        raise InputError(f"{_LATER_SUFFIX[suffix]} are not supported yet: export it as CSV or JSON lines")
    if suffix == ".json":
        raise InputError(
            f"{spec.source} is one JSON document, not a list of lines: jq -c '.[]' {spec.source} | batchq run -, "
            "or name the form with --input-format if it holds a JSON object a line"
        )
    raise InputError(
        f"{shown(spec.source)}: {f'the suffix {shown(suffix)}' if suffix else 'a name without suffix'} does not "
        f"tell the form: name it with --input-format ({', '.join(FORMATS)})"
    )


def _form_of_stream(spec: InputSpec, first: str) -> str:
    text = first.lstrip()
    if text.startswith("{"):
        return _form_of_json(first)
    if text.startswith("["):
        raise InputError("standard input is one JSON list, not a list of lines: pipe it through jq -c '.[]'")
    return "csv" if _is_header(text.rstrip("\r\n"), spec) else "text"


def _is_header(line: str, spec: InputSpec) -> bool:
    """Whether a first line names columns: one that is taken by itself, the id's, or all of the template's."""
    try:
        names = split_header(line)[0]
    except csv.Error:
        return False
    if len(names) != len(set(names)) or not all(name.strip() for name in names):
        return False
    if set(names) & set(OWN_COLUMNS) or spec.id_field in names:
        return True
    fields = Template(spec.prompt).fields if spec.prompt else frozenset()
    return bool(fields) and fields <= set(names)


def _form_of_json(first: str) -> str:
    """Gemini's form, OpenAI's or ours, by the first line. What is wrong with the line is told when it is read."""
    try:
        fields = json.loads(first)
    except (ValueError, RecursionError):
        return "batchq"
    if not isinstance(fields, dict):
        return "batchq"
    if "request" in fields:
        return "gemini"
    return "openai" if openai.looks_like(fields) else "batchq"


def _opened(source: str) -> BinaryIO:
    try:
        return Path(source).open("rb", buffering=2**20)
    except OSError as exc:
        raise InputError(f"{shown(source)} cannot be read: {_why(exc)}") from None


def _why(exc: Exception) -> str:
    return (exc.strerror or str(exc)).lower() if isinstance(exc, OSError) else str(exc)


def _name(spec: InputSpec) -> str:
    return STDIN if spec.source == "-" else shown(spec.source)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
