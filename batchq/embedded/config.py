"""The embedded server's configuration: what it listens on, what it keeps, how much memory it may take."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Set
from hashlib import sha256
from pathlib import Path

from batchq.embedded.folder import Folder, State

LONGEST_SOCKET_PATH = 103  # bytes; macOS's limit, Linux has 107
MEMORY_SHARE = 0.6  # the rest is for workers, and for the copy-on-write of a rewrite of the append-only file
TITLE = "proc-title-template"
LOWEST_PORT, PORTS = 20_000, 10_000


def text(state: State) -> bytes:
    """server.conf for this state; holds the password, so it is for the user's eyes only."""
    settings = {
        # What the process list shows, and how the server proves which instance it is (CONFIG GET).
        TITLE: title(state.instance_id),
        "requirepass": state.password,
        "protected-mode": "yes",
        "port": str(state.port or 0),
        "bind": "127.0.0.1",
        "daemonize": "no",
        "dir": ".",  # started there; so the folder's name needs no quoting
        "logfile": "",  # standard output, which is server.log
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",  # a crash may cut the last command short: it was never acknowledged as safe
        "save": "",  # no snapshots: the append-only file is the data
        # Full memory must be a refused write that the caller sees. Evicting keys would lose items and chords.
        "maxmemory-policy": "noeviction",
        "maxmemory": str(int(memory_limit() * MEMORY_SHARE)),
    }
    if state.socket:
        settings |= {"unixsocket": state.socket, "unixsocketperm": "600"}
    return b"".join(b"%s %s\n" % (key.encode(), _quoted(value)) for key, value in settings.items())


def title(instance_id: str) -> str:
    return f"batchq-server {instance_id} {{listen-addr}}"


def _quoted(value: str) -> bytes:
    raw = os.fsencode(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + raw + b'"'


def listen_on(folder: Folder, busy: Set[int | None]) -> tuple[str | None, int | None]:
    """(socket, port), one of them None: a unix socket where a path is short enough, else a port of 127.0.0.1.

    The same folder gets the same place again, so that clients find a restarted server. Only the server itself
    finds out whether a port is free; those in `busy` it found taken.
    """
    for path in _socket_paths(folder):
        if _can_listen(path):
            return path, None
    return None, next(port for port in _ports(folder) if port not in busy)


def _socket_paths(folder: Folder) -> Iterator[str]:
    yield str(folder.path / "redis.sock")
    # Not the user's runtime folder: it is deleted at logout, and the server lives on.
    private = Path(tempfile.gettempdir()) / f"batchq-{os.getuid()}-{_digest(folder)[:12]}"
    path = str(private / "redis.sock")
    if _fits(path) and _own(private):
        yield path


def _own(private: Path) -> bool:
    """Make the folder, 0700; False if somebody else was there first (anybody may write to the temp folder)."""
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and found.st_mode & 0o170777 == 0o040700


def _fits(path: str) -> bool:
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH


def _can_listen(path: str) -> bool:
    """Some file systems (shared folders of virtual machines) hold no sockets: try it."""
    if not _fits(path):
        return False
    try:
        Path(path).unlink(missing_ok=True)  # left by a server that crashed: the caller holds the lock
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(path)
        Path(path).unlink()
    except OSError:
        return False
    return True


def _ports(folder: Folder) -> Iterator[int]:
    first = int(_digest(folder), 16)
    return (LOWEST_PORT + (first + step) % PORTS for step in range(PORTS))


def _digest(folder: Folder) -> str:
    return sha256(os.fsencode(folder.path)).hexdigest()


def memory_limit() -> int:
    """Bytes this process tree may use: the machine's memory, or less inside a container (cgroup v1 and v2)."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_cgroup_limits()])


def _cgroup_limits(
    table: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    try:
        lines = table.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        here = base / path.lstrip("/")
        for place in (here, *here.parents):  # a limit on any ancestor holds too
            limit = _read_limit(place / name)
            if limit is not None:
                yield limit
            if place == base:
                break


def _read_limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None
