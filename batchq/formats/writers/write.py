"""A results file appears whole or not at all: written aside, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from batchq.core.records import Result
from batchq.errors import BatchqError
from batchq.formats.remote import Remote
from batchq.formats.words import shown
from batchq.formats.writers.destination import Destination
from batchq.formats.writers.flat import VECTOR, flat_fields
from batchq.formats.writers.forms import FORM_WRITERS
from batchq.formats.writers.pictures import Pictures

_BUFFER = 2**20
_REMEDY = "The results are safe in the job: write them again with `batchq results JOB -o OUT`"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    count: int  # results
    path: str | None  # as Destination has it; None: standard output
    bytes: int  # of the file; 0 for a table


def write(
    results: Iterable[Result],
    destination: Destination,
    stdout: BinaryIO | None = None,
    *,
    schema: Mapping[str, Any] | None = None,
    vectors: bool = False,
    mark: str = "",
) -> Written:
    """Write all results. After an exception, of ours or of `results`, a file or table is what it was before.

    Folders that are missing are made. An existing file is replaced and keeps its mode; behind a symbolic
    link the file it leads to is. `stdout` stands in for sys.stdout.buffer. `schema` is the job's: csv, parquet
    and a table get a column for each of its plain fields; `vectors` says that it has embeddings, which get a column of
    float32 in parquet. Pictures of answers become files in a folder beside the file, see pictures.py. What is written
    beside a file until it is whole carries `mark`: whatever else lies there with it was left by a writer that died, and
    goes. Raises BatchqError where the file cannot be written
    (a full disk among it), BrokenPipeError where standard output or a pipe was closed.
    """
    pictures = Pictures(_beside(destination))
    counted = _Counted(pictures.placed(results))
    try:
        size = _write(
            counted, destination, stdout, schema, vectors=vectors, before_rename=pictures.keep, mark=mark
        )
    except BaseException:
        pictures.drop()
        raise
    return Written(counted.count, destination.path, size)


def _beside(destination: Destination) -> Path | None:
    """The file beside which there is a place for others; None: there is none."""
    if destination.path is None or destination.address is not None or destination.direct:
        return None
    return Path(os.path.realpath(destination.path))


def _write(
    counted: _Counted,
    destination: Destination,
    stdout: BinaryIO | None,
    schema: Mapping[str, Any] | None,
    *,
    vectors: bool,
    before_rename: Callable[[], None],
    mark: str,
) -> int:
    """Bytes of the file; 0 for a table."""
    fields = flat_fields(schema)
    if vectors and destination.form == "parquet":
        fields = (*fields, VECTOR)
    if destination.form == "sql":
        from batchq.formats.sql.table import upsert

        assert destination.address is not None
        upsert(counted, destination.address, fields, _REMEDY)
        return 0
    parts = FORM_WRITERS[destination.form](counted, fields)
    try:
        if destination.path is None:
            return _copy(parts, stdout if stdout is not None else sys.stdout.buffer)
        if destination.address is not None:
            with Remote(destination.address).replaced() as remote:
                return _copy(parts, remote)
        if destination.direct:
            with Path(destination.path).open("wb", buffering=_BUFFER) as file:
                return _copy(parts, file)
        return _replace(parts, Path(os.path.realpath(destination.path)), before_rename, mark)
    except BrokenPipeError:
        raise
    except OSError as exc:
        if exc is counted.error:  # the results broke off, not the file
            raise
        raise BatchqError(_sorry(exc, destination.path)) from exc


class _Counted:
    def __init__(self, results: Iterable[Result]) -> None:
        self.count = 0
        self.error: Exception | None = None  # that `results` raised
        self._results = results

    def __iter__(self) -> Iterator[Result]:
        try:
            for result in self._results:
                self.count += 1
                yield result
        except Exception as exc:
            self.error = exc
            raise


def _copy(parts: Iterable[bytes], file: IO[bytes]) -> int:
    size = 0
    for part in parts:
        size += file.write(part)
    file.flush()
    return size


def _replace(parts: Iterable[bytes], target: Path, before_rename: Callable[[], None], mark: str) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".batchq-{mark}-" if mark else ".batchq-"
    for left in target.parent.glob(f"{prefix}*.part") if mark else ():
        left.unlink(missing_ok=True)
    # beside it: a rename is within one disk
    temporary = target.parent / f"{prefix}{secrets.token_hex(8)}.part"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb", buffering=_BUFFER) as file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(handle, target.stat().st_mode & 0o777)
            size = _copy(parts, file)
            os.fsync(handle)  # before the rename, or a crash could leave the name on an empty file
        _must_be_replaceable(target)
        before_rename()
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
    return size


def _must_be_replaceable(target: Path) -> None:
    """Whatever the destination said: a rename onto a device takes it from the whole machine (/dev/null, as root)."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(target.lstat().st_mode):
            raise BatchqError(
                f"results were not written to {shown(target)}: it is no regular file. {_REMEDY}"
            )


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last. Some file systems cannot sync a folder; the file is whole all the same."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sorry(exc: OSError, path: str | None) -> str:
    where = "standard output" if path is None else shown(path)
    why = (exc.strerror or str(exc)).lower()
    if exc.errno in _FULL:
        return (
            f"results were not written to {where}: {why}. Free some space or choose another disk. {_REMEDY}"
        )
    return f"results were not written to {where}: {why}. {_REMEDY}"
