"""The embedded server's folder: its files, who may read them, and the lock that says whether it is served.

    server.lock   held (flock) by the server process itself for as long as it lives
    server.json   the State below, written before the server starts; kept when it stops, for its password
    server.conf   the server's configuration, made anew at each start
    server.log    what the server prints
    redis.sock    where it listens, unless the path is too long
    appendonlydir/  the data

The lock is the one truth about life and death: the kernel drops it when the process dies, however it dies, and
a pid can be reused where a lock cannot. Whoever holds it may write the files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from batchq.errors import ServerError

DATA_DIR_VARIABLE = "BATCHQ_DATA_DIR"


def default_data_dir() -> Path:
    """`server` in $BATCHQ_DATA_DIR, else in the user's data folder for batchq (~/.local/share/batchq)."""
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    base = Path(chosen).expanduser() if chosen else platformdirs.user_data_path("batchq")
    return base / "server"


@dataclass(frozen=True, slots=True)
class State:
    """What a process must know to reach the server that was started last in this folder."""

    instance_id: str  # new at each start; the server repeats it, which proves that it is the one meant
    password: str  # kept for the life of the folder, so that clients outlive a crash of the server
    socket: str | None  # absolute path; None: it listens on `port` of 127.0.0.1
    port: int | None  # None: it listens on `socket`
    binary: str
    version: str  # "Valkey 9.1.2"
    pid: int | None = None  # None until the server has answered once
    started: float | None = None  # seconds since the epoch; None like pid


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one embedded server. Raises ServerError where the file system refuses."""

    path: Path  # absolute

    @classmethod
    def at(cls, data_dir: Path | None) -> Folder:
        return cls((data_dir or default_data_dir()).expanduser().absolute())

    @property
    def lock(self) -> Path:
        return self.path / "server.lock"

    @property
    def state(self) -> Path:
        return self.path / "server.json"

    @property
    def config(self) -> Path:
        return self.path / "server.conf"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    @property
    def data(self) -> Path:
        return self.path / "appendonlydir"

    def create(self) -> None:
        """Make the folder, for this user only. A folder that is there already is closed to others."""
        with self.complaining("cannot be used"):
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)

    def acquire(self) -> int | None:
        """The lock as an open file descriptor, or None when a server (or one being started) has it."""
        with self.complaining("cannot be locked"):
            fd = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
            return fd if _flock(fd, fcntl.LOCK_EX) else None

    def locked(self) -> bool:
        """Is a server of this folder alive, or just being started? Creates nothing."""
        with self.complaining("cannot be read"):
            try:
                fd = os.open(self.lock, os.O_RDONLY)
            except FileNotFoundError:
                return False
            if not _flock(fd, fcntl.LOCK_SH):  # shared: two that look do not see each other
                return True
            os.close(fd)
            return False

    def read_state(self) -> State | None:
        """The state of the server started last; None if there was none or the file is damaged."""
        with self.complaining("cannot be read"):
            try:
                return State(**json.loads(self.state.read_bytes()))
            except FileNotFoundError:
                return None
            except (ValueError, TypeError):
                return None

    def write_state(self, state: State) -> None:
        self.write_private(self.state, json.dumps(asdict(state), indent=1).encode())

    def write_private(self, path: Path, content: bytes) -> None:
        """Replace a file by a whole new one (0600): a reader sees the old or the new, after a power cut too."""
        with self.complaining("cannot be written to"):
            fd, name = tempfile.mkstemp(dir=self.path, prefix=f".{path.name}.")
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise

    @contextlib.contextmanager
    def complaining(self, what: str) -> Iterator[None]:
        """Turn the file system's refusals into a ServerError that names the folder and the way out."""
        try:
            yield
        except OSError as exc:
            raise ServerError(
                f"the embedded server's folder {self.path} {what}: {exc.strerror or exc}. {self.way_out(exc.errno)}"
            ) from exc

    def way_out(self, errno_: int | None) -> str:
        if errno_ in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"Free some space there, or set {DATA_DIR_VARIABLE} to a folder on another disk."
        if errno_ in (errno.ENOLCK, errno.EOPNOTSUPP):
            return f"Its file system knows no locks: set {DATA_DIR_VARIABLE} to a folder on a local disk."
        return (
            f"Give this user the right to write there, set {DATA_DIR_VARIABLE} to another folder, "
            "or set BATCHQ_REDIS_URL to a Redis of your own."
        )


def _flock(fd: int, kind: int) -> bool:
    """Take the lock or close the descriptor; never waits."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return False
    except BaseException:
        os.close(fd)
        raise
    return True
