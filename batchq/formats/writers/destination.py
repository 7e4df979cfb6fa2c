"""OUT, checked before anything is submitted: a job that ran all night must not end at a typo in a path."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from batchq.errors import InputError
from batchq.formats.addresses import file_name, is_address, is_database, local_path, masked
from batchq.formats.extras import need
from batchq.formats.remote import Remote
from batchq.formats.spec import OUTPUT_FORMATS
from batchq.formats.words import listed, meant, shown

_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where results go and in which form."""

    path: str | None  # as the user named it, without the secrets of a URL; None: standard output
    form: str  # one of OUTPUT_FORMATS, or "sql": a table
    direct: bool = False  # no regular file (/dev/null, a pipe): written as it comes, not replaced whole
    address: str | None = field(
        default=None, repr=False
    )  # the whole URL; None: `path` is one of this machine


def check_destination(out: str, format: str | None = None) -> Destination:
    """Find the form, and make sure that a file can be made there, or a table written. Nothing is left behind;
    missing folders are made by `write`.

    `out` is a path, a file's address, a database's, or "-" for standard output; `format` one of OUTPUT_FORMATS, None:
    by suffix, jsonl for what is no regular file. Raises InputError.
    """
    if format is not None and format not in OUTPUT_FORMATS:
        raise InputError(
            f"--format {shown(format)} is not known{meant(format, OUTPUT_FORMATS)} Known: {listed(OUTPUT_FORMATS)}"
        )
    if is_database(out):
        return _table(out, format)
    if out == "-":
        found = Destination(None, format or "jsonl")
    else:
        path = local_path(out) or out
        found = _remote(path, format) if is_address(path) else _file(path, format)
    if found.form == "parquet":
        need("parquet", "pyarrow")
    return found


def url_destination(url: str) -> Destination:
    """The destination that a URL names, by its text alone: what it stands for is not looked at. Raises InputError."""
    if not is_address(url):
        raise InputError(
            f"destination {shown(url)} is no URL: workers write it, so name one that they reach: s3://bucket/name.jsonl, "
            "postgresql://user@host/database, file:///shared/name.csv. `batchq results JOB -o PATH` writes to a path here"
        )
    if is_database(url):
        return Destination(masked(url), "sql", address=url)
    path = local_path(url)
    if path is not None:
        return Destination(path, _form(path))
    if url.lower().startswith(("http://", "https://")):
        raise InputError(f"{shown(masked(url))}: nothing can be written to a web address")
    return Destination(masked(url), _form(file_name(url)), address=url)


def _remote(address: str, format: str | None) -> Destination:
    remote = Remote(address)
    form = format or _form(file_name(address))
    remote.check_writable()
    return Destination(remote.name, form, address=address)


def _file(out: str, format: str | None) -> Destination:
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


def _table(address: str, format: str | None) -> Destination:
    from batchq.formats.sql.table import check_table

    if format is not None:
        raise InputError("--format is for files, and a table has columns already: leave it out")
    return Destination(check_table(address, _try_file), "sql", address=address)


def _try_file(path: str) -> None:
    """Raise InputError where no file can be made or written at a path."""
    if Path(path).exists():
        _must_be_writable(path)
    _try_folder(path)


def _form(out: str) -> str:
    suffix = Path(out).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    what = f"the suffix {shown(suffix)}" if suffix else "a name without suffix"
    raise InputError(
        f"{shown(out)}: {what} does not tell the form: name it with --format ({', '.join(OUTPUT_FORMATS)})"
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
