"""Which form an input has: by its name, else by its first line."""

from __future__ import annotations

import csv
import json
from pathlib import PurePosixPath

from batchq.errors import InputError
from batchq.formats import openai
from batchq.formats.addresses import file_name, is_address, masked
from batchq.formats.columns import OWN_COLUMNS
from batchq.formats.spec import FORMATS, InputSpec
from batchq.formats.table import split_header
from batchq.formats.template import Template
from batchq.formats.words import shown

# "jsonl" is gemini, openai or batchq, as the first line tells.
_BY_SUFFIX = {
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".txt", ".text"), "text"),
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif"), "files"
    ),
    **dict.fromkeys(
        (".pdf", ".mp3", ".wav", ".flac", ".ogg", ".m4a", ".aac", ".mp4", ".mov", ".webm"), "files"
    ),
}
_PACKED = {".gz": "zcat", ".zst": "zstdcat", ".bz2": "bzcat", ".xz": "xzcat"}


def form_by_name(source: str) -> str:
    """A form by the suffix of a path or address, "jsonl" among them. Raises InputError where it tells none."""
    name = masked(source)
    suffix = PurePosixPath(file_name(source) if is_address(source) else source).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix in _PACKED:
        remedy = (
            "download and unpack it" if is_address(source) else f"{_PACKED[suffix]} {name} | batchq run -"
        )
        raise InputError(f"{name} is compressed: {remedy}")
    if suffix == ".json":
        raise InputError(
            f"{name} is one JSON document, not a list of lines: jq -c '.[]' {name} | batchq run -, "
            "or name the form with --input-format if it holds a JSON object a line"
        )
    raise InputError(
        f"{shown(name)}: {f'the suffix {shown(suffix)}' if suffix else 'a name without suffix'} does not "
        f"tell the form: name it with --input-format ({', '.join(FORMATS)})"
    )


def is_file_form(path: str) -> bool:
    """Whether a suffix means a file that is one item."""
    return _BY_SUFFIX.get(PurePosixPath(path).suffix.lower()) == "files"


def form_of_json(first: str) -> str:
    """Gemini's form, OpenAI's or ours, by the first line. What is wrong with it is told when it is read."""
    try:
        fields = json.loads(first)
    except (ValueError, RecursionError):
        return "batchq"
    if not isinstance(fields, dict):
        return "batchq"
    if "request" in fields:
        return "gemini"
    return "openai" if openai.looks_like(fields) else "batchq"


def form_of_stream(spec: InputSpec, first: str) -> str:
    """The form of standard input, by its first line."""
    text = first.lstrip()
    if text.startswith("{"):
        return form_of_json(first)
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
