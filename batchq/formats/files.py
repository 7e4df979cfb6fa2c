"""Files as items: the walk through a folder, the check at submit, the read on the worker.

Names, links and contents are untrusted. A file is opened without following a link and without waiting (a
FIFO would block for ever), and only a regular one is read.
"""

# Plain strings: a folder may hold a million names, and ids are made of them.
# ruff: noqa: PTH100, PTH112, PTH114, PTH116, PTH118, PTH119, PTH120

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from batchq.core.records import ErrorInfo, FileRef, Item
from batchq.errors import Complaint, InputError, Unsendable
from batchq.formats.items import BadRow, checked_id
from batchq.formats.places import is_under
from batchq.formats.template import Template
from batchq.formats.words import shown

MAX_FILE_BYTES = 20_000_000
_CHUNK = 2**20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_files(source: str, glob: str | None, template: Template | None) -> Iterator[Item | Complaint]:
    """An item a file of a folder, or of the one file that `source` is; the id is the relative path.

    Sorted by name, folder by folder. Hidden files and folders are skipped; what is no regular file, or leads
    out of the folder, is an item with a problem, so that nobody misses it in silence.
    """
    if template is not None:
        template.check(("name", "path"), "a file")
    root = os.path.realpath(source)
    found: Iterator[tuple[str, str]]
    if os.path.isdir(root):
        matches = glob_pattern(glob) if glob else None
        found = ((path, name) for path, name in _walk(root, "") if matches is None or matches.search(name))
    else:
        if glob:
            raise InputError(f"--glob picks files of a folder, and {shown(source)} is a file: leave it out")
        found = iter([(root, os.path.basename(os.path.abspath(source)))])
        root = os.path.dirname(root)
    for row, (path, name) in enumerate(found, 1):
        place = f"file {shown(name)[1:-1]}"
        try:
            item_id = checked_id(name, "the file's name")
        except BadRow as exc:
            yield Complaint(place, str(exc), row)
            continue
        input: dict[str, Any] = {"file": {"path": os.path.realpath(path), "name": name}}
        if template is not None:
            values = {"name": os.path.basename(name), "path": name}
            input["prompt"] = template.render(values)
        yield Item(item_id, input, None, _problem(path, root), place)


def glob_pattern(glob: str) -> re.Pattern[str]:
    """`*` and `?` stay within a name, `**/` is any number of folders, `[abc]` one of these.

    A pattern without `/` is matched against the file's name at any depth, another against the whole
    relative path.
    """
    out, at = "", 0
    text = glob.removeprefix("./")
    while at < len(text):
        if text.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif text.startswith("**", at):
            out, at = out + ".*", at + 2
        elif text[at] in "*?":
            out, at = out + ("[^/]*" if text[at] == "*" else "[^/]"), at + 1
        elif text[at] == "[" and (end := text.find("]", at + 2)) > 0:
            inside = re.sub(r"([\\\[&~|])", r"\\\1", text[at + 1 : end])
            out, at = out + f"[{'^' + inside[1:] if inside[0] == '!' else inside}]", end + 1
        else:
            out, at = out + re.escape(text[at]), at + 1
    try:
        return re.compile(("^" if "/" in text else "(?:^|/)") + f"(?:{out})$", re.DOTALL)
    except re.error as exc:
        raise InputError(f"--glob {shown(glob)} is no pattern: {exc}") from None


def inspect(path: str, name: str, max_bytes: int = MAX_FILE_BYTES) -> FileRef | ErrorInfo:
    """Read a file once and say what it is, or what is wrong with it.

    Statuses: FILE_UNREADABLE, FILE_NOT_REGULAR, FILE_EMPTY, FILE_TOO_LARGE. Memory: 1 MB.
    """
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return ErrorInfo(0, "FILE_EMPTY", f"{shown(name)} is empty")
            if size > max_bytes:
                return ErrorInfo(0, "FILE_TOO_LARGE", _too_large(name, size, max_bytes))
            digest, seen = hashlib.sha256(), 0
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                seen += len(chunk)
                if seen > max_bytes:
                    return ErrorInfo(0, "FILE_TOO_LARGE", _too_large(name, seen, max_bytes))
            if seen != size:
                return ErrorInfo(
                    0, "FILE_UNREADABLE", f"{shown(name)} changed while it was read: submit it again"
                )
            return FileRef(name, digest.hexdigest(), seen, path)
    except _NotRegular as exc:
        return ErrorInfo(0, "FILE_NOT_REGULAR", f"{shown(name)} is {exc}, not a file")
    except (OSError, ValueError) as exc:
        return ErrorInfo(0, "FILE_UNREADABLE", f"{shown(name)}: {_why(exc)}")


def load(ref: FileRef, roots: Iterable[str]) -> bytes:
    """The bytes of a file that was inspected at submit, read by path on a worker.

    Raises Unsendable: FILE_OUTSIDE_ROOTS where the path, links resolved, lies under none of `roots` (real
    paths); FILE_UNREADABLE; FILE_CHANGED where size or sha-256 are no longer those of the submission. What
    is returned is always what was submitted, however the folder changes meanwhile.
    """
    if ref.path is None:
        raise Unsendable(f"{shown(ref.name)} was stored with the job, not by path", kind="FILE_UNREADABLE")
    try:
        real = os.path.realpath(ref.path)
        if not is_under_any(real, roots):
            raise Unsendable(
                f"{shown(ref.name)} lies in no file root of this worker: add its folder to BATCHQ_FILE_ROOTS",
                kind="FILE_OUTSIDE_ROOTS",
            )
        with _opened(real) as file:
            same = os.fstat(file.fileno()).st_size == ref.size
            data = file.read(ref.size + 1) if same else b""
    except (_NotRegular, OSError, ValueError) as exc:
        raise Unsendable(f"{shown(ref.name)}: {_why(exc)}", kind="FILE_UNREADABLE") from None
    if len(data) != ref.size or hashlib.sha256(data).hexdigest() != ref.sha256:
        raise Unsendable(f"{shown(ref.name)} changed since submit", kind="FILE_CHANGED")
    return data


def is_under_any(path: str, roots: Iterable[str]) -> bool:
    """Whether a path, links resolved, lies under one of the folders."""
    real = os.path.realpath(path)
    return any(is_under(real, os.path.realpath(root)) for root in roots)


class _NotRegular(Exception):
    """Says what it is instead."""


def _opened(path: str) -> Any:
    # Looked at first: opening a device may act on it (a tape rewinds). Again after: it may have been swapped.
    before = os.lstat(path)
    if not stat.S_ISLNK(before.st_mode):  # a link is refused by open(), with its own errno
        _must_be_regular(before.st_mode)
    handle = os.open(path, _OPEN)
    try:
        _must_be_regular(os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _must_be_regular(mode: int) -> None:
    what = _what(mode)
    if what is not None:
        raise _NotRegular(what)


def _what(mode: int) -> str | None:
    """What stands there instead of a regular file; None: it is one."""
    for test, what in (
        (stat.S_ISREG, None),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return what
    return "a device"


def _why(exc: Exception) -> str:
    if isinstance(exc, _NotRegular):
        return f"it is {exc}, not a file"
    if isinstance(exc, OSError):
        if exc.errno == errno.ELOOP:
            return "it is a symbolic link: name the file itself"
        if exc.errno == errno.ENOENT:
            return "no such file"
        if exc.errno == errno.EACCES:
            return "no permission to read it"
        return (exc.strerror or str(exc)).lower()
    return str(exc)


def _too_large(name: str, size: int, max_bytes: int) -> str:
    return f"{shown(name)} has {size / 1e6:.1f} MB; at most {max_bytes / 1e6:g} MB go in one item"


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    """(path, relative name) of everything that is to be an item, sorted. One folder's names in memory."""
    todo = [(folder, prefix)]
    while todo:
        path, name = todo.pop()
        if name and not _is_folder(path):
            yield path, name
            continue
        try:
            with os.scandir(path) as entries:
                names = sorted(
                    (entry.name for entry in entries if not entry.name.startswith(".")), reverse=True
                )
        except OSError as exc:
            if not name:
                raise InputError(f"{shown(path)} cannot be read: {_why(exc)}") from None
            yield path, name  # a folder that cannot be opened: told as an item
            continue
        todo.extend((os.path.join(path, one), f"{name}/{one}" if name else one) for one in names)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _problem(path: str, root: str) -> ErrorInfo | None:
    """What is wrong with an entry of the folder before it is opened; `inspect` sees the rest."""
    name = shown(os.path.basename(path))
    real = os.path.realpath(path)
    if not is_under(real, root):
        message = f"{name} is a link out of the folder: copy the file into it"
        return ErrorInfo(0, "FILE_OUTSIDE_ROOTS", message)
    try:
        mode = os.stat(real).st_mode
    except OSError as exc:
        return ErrorInfo(0, "FILE_UNREADABLE", f"{name}: {_why(exc)}")
    what = _what(mode)
    if what == "a folder":
        # A folder's own entries are items; one met here is a link, or cannot be opened.
        if os.path.islink(path):
            return ErrorInfo(
                0, "FILE_NOT_REGULAR", f"{name} is a link to a folder: its files are not read here"
            )
        return ErrorInfo(0, "FILE_UNREADABLE", f"{name}: no permission to read the folder")
    return None if what is None else ErrorInfo(0, "FILE_NOT_REGULAR", f"{name} is {what}, not a file")
