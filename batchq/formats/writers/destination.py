"""OUT, checked before anything is submitted: a job that ran all night must not end at a typo in a path."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from batchq.errors import InputError
from batchq.formats.words import listed, meant, shown

FORMS = ("jsonl", "json", "csv")
_BY_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}
_LATER = {"parquet", "pq"}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where results go and in which form."""

    path: str | None  # as the user named it; None: standard output
    form: str  # one of FORMS
    direct: bool = False  # no regular file (/dev/null, a pipe): written as it comes, not replaced whole


def check_destination(out: str, format: str | None = None) -> Destination:
    """Find the form, and make sure that a file can be made there. Nothing is left behind; missing folders
    are made by `write`.

    `out` is a path, or "-" for standard output; `format` one of FORMS, None: by suffix, jsonl for what is no
    regular file. Raises InputError.
    """
    if format is not None and format not in FORMS:
        later = " is not supported yet;" if format in _LATER else f" is not known{meant(format, FORMS)}"
        raise InputError(f"--format {shown(format)}{later} Known: {listed(FORMS)}")
    if out == "-":
        return Destination(None, format or "jsonl")
    if "://" in out:
        raise InputError(f"{shown(out)} is a URL, which is not supported yet as a destination: name a file")
    if not out.strip() or "\0" in out:
        raise InputError("the results path is empty: name a file, or - for standard output")
    path = Path(out)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as exc:
        raise InputError(f"results cannot be written to {shown(out)}: {_why(exc)}") from None
    if (mode is not None and stat.S_ISDIR(mode)) or out.endswith(os.sep):
        raise InputError(f"{shown(out)} is a folder: name a file in it, such as {path / 'results.jsonl'}")
    if mode is not None and not stat.S_ISREG(mode):
        _must_be_writable(out)
        return Destination(out, format or "jsonl", direct=True)
    form = format or _form(out)
    if mode is not None:
        _must_be_writable(out)
    _try_folder(out)
    return Destination(out, form)


def _form(out: str) -> str:
    suffix = Path(out).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix.removeprefix(".") in _LATER:
        raise InputError(f"{shown(out)}: Parquet is not supported yet: use .jsonl, .json or .csv")
    what = f"the suffix {shown(suffix)}" if suffix else "a name without suffix"
    raise InputError(
        f"{shown(out)}: {what} does not tell the form: name it with --format ({', '.join(FORMS)})"
    )


def _must_be_writable(out: str) -> None:
    if not os.access(out, os.W_OK):
        raise InputError(
            f"{shown(out)} may not be written by this user: choose another path, or change its mode"
        )


def _try_folder(out: str) -> None:
    """Make a file where the results' temporary one will be, or in the nearest folder that exists."""
    folder = Path(os.path.realpath(out)).parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".batchq-", suffix=".part"):
            pass
    except OSError as exc:
        raise InputError(
            f"results cannot be written to {shown(out)}: {shown(folder)}: {_why(exc)}. Choose another path with -o"
        ) from None


def _why(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
