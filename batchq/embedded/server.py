"""The embedded server from outside: find it, start it, stop it, say how it is."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from batchq.embedded import trouble
from batchq.embedded.folder import Folder
from batchq.embedded.launch import Launch, launch
from batchq.embedded.probe import ANSWER_S, EmbeddedServer, Sighting, connect, look
from batchq.errors import ServerError

POLL_S = 0.02
REFUSAL_S = (
    2.5  # a server tries its append-only file again each second: so long may a full disk have been full
)
STARTS = 20  # in one call, when port after port turns out to be taken or somebody stops what we start


def running(data_dir: Path | None = None) -> EmbeddedServer | None:
    """The server this user has running in the folder, or None. Never starts one, creates nothing.

    `data_dir` None is the default folder, see default_data_dir(). The server may still be loading its data.
    What a dead server left behind counts for nothing and is replaced by the next start.
    Raises ServerError when a server is alive but does not answer.
    """
    seen = _find(Folder.at(data_dir))
    return seen.server if seen else None


def start(data_dir: Path | None = None, *, timeout_s: float = 10) -> EmbeddedServer:
    """The server of the folder, started if it does not run; returns when it takes commands.

    Any number of processes and threads may call this at once: they get the same server. It survives the
    process that started it. `timeout_s` is how long it may show no progress; loading data is progress.
    Raises ServerError (with the end of its log and the remedy) when it cannot start or refuses writes.
    """
    folder = Folder.at(data_dir)
    folder.create()
    patience = _Patience(timeout_s)
    launches: list[Launch] = []
    while True:
        seen = look(folder)
        if seen is not None and not seen.loading:
            return _if_it_writes(folder, seen)
        if seen is not None:
            patience.renew(seen.loaded_bytes)
        elif (lock := folder.acquire()) is not None:  # nobody serves the folder: it is up to us
            if launches:
                _check_may_try_again(folder, launches[-1], len(launches), lock)
            launches.append(launch(folder, lock, busy={one.state.port for one in launches}))
        if patience.ended:
            raise _silent(folder, timeout_s)
        time.sleep(POLL_S)


def stop(data_dir: Path | None = None, *, timeout_s: float = 10) -> bool:
    """End the folder's server, its append-only file flushed to disk; False when none was running.

    Clients lose their connections; what is stored stays. Raises ServerError when it has not ended after
    `timeout_s`; it is never killed the hard way.
    """
    folder = Folder.at(data_dir)
    try:
        seen = _find(folder)
    except _Silent:
        if not _terminate(folder):
            raise
    else:
        if seen is None:
            return False
        _shut_down(folder, seen.server)
    former = folder.read_state()
    patience = _Patience(timeout_s)
    # A new state means that it ended and somebody started the next one already.
    while folder.locked() and folder.read_state() == former:
        if patience.ended:
            raise _silent(folder, timeout_s)
        time.sleep(POLL_S)
    return True


def status(data_dir: Path | None = None) -> dict[str, Any]:
    """How the folder's server is, for people and `--json`; never holds the password.

    `state` is `running`, `loading` (reads its data), `refusing writes` (see `aof`), `hanging` or `stopped`.
    Sizes are bytes. What is not known is None; `hanging` and `stopped` know the folder only.
    Raises ServerError when the folder cannot be read.
    """
    folder = Folder.at(data_dir)
    try:
        seen = _find(folder)
    except _Silent:
        return _status(folder, "hanging", None)
    if seen is None:
        return _status(folder, "stopped", None)
    return _status(
        folder, "loading" if seen.loading else "running" if seen.writes else "refusing writes", seen
    )


def _status(folder: Folder, word: str, seen: Sighting | None) -> dict[str, Any]:
    info = seen.info if seen else {}
    return {
        "state": word,
        "url": seen.server.shown_url if seen else None,
        "pid": seen.server.pid if seen else None,
        "version": seen.server.version if seen else None,
        "uptime_s": info.get("uptime_in_seconds"),
        "memory": {"used": info.get("used_memory"), "limit": info.get("maxmemory")},
        "aof": {
            "size": info.get("aof_current_size"),
            "last_write": info.get("aof_last_write_status"),
            "last_rewrite": info.get("aof_last_bgrewrite_status"),
        },
        "data_dir": str(folder.path),
        "log": str(folder.log),
    }


class _Silent(ServerError):
    """The server is alive but does not answer."""


class _Patience:
    """Ends `timeout_s` after the last sign of progress."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._until = time.monotonic() + timeout_s
        self._progress: object = None

    def renew(self, progress: object) -> None:
        if progress != self._progress:
            self._progress = progress
            self._until = time.monotonic() + self._timeout_s

    @property
    def ended(self) -> bool:
        return time.monotonic() > self._until


def _find(folder: Folder) -> Sighting | None:
    """The server if it runs, None if the folder is not served. Raises ServerError when it is but stays silent."""
    patience = _Patience(ANSWER_S)  # one that is being started right now answers within this
    while True:
        seen = look(folder)
        if seen is not None:
            return seen
        if not folder.locked():
            return None
        if patience.ended:
            raise _silent(folder, ANSWER_S)
        time.sleep(POLL_S)


def _if_it_writes(folder: Folder, seen: Sighting) -> EmbeddedServer:
    patience = _Patience(REFUSAL_S)
    while not seen.writes:
        if patience.ended:
            raise trouble.refuses_writes(folder)
        time.sleep(POLL_S)
        seen = look(folder) or seen
    return seen.server


def _check_may_try_again(folder: Folder, launched: Launch, starts: int, lock: int) -> None:
    """The server we launched is dead. Closes the lock and raises ServerError unless another start may do better.

    It may when only its port was taken, or when it did start: then somebody stopped it before we saw it.
    """
    log = trouble.log_since(folder, launched.log_start)
    if starts < STARTS and (trouble.ADDRESS_TAKEN.search(log) or trouble.STARTED.search(log)):
        return
    try:
        if launched.former:
            folder.write_state(launched.former)  # it says which server wrote the data
        raise trouble.died(folder, launched.state, launched.former, launched.log_start)
    finally:
        os.close(lock)


def _silent(folder: Folder, waited_s: float) -> _Silent:
    state = folder.read_state()
    known = state is not None and state.pid is not None
    who = f"process {state.pid}" if state and known else "a process of this user"
    kill = f"`kill -9 {state.pid}`" if state and known else "ending the process `batchq-server` of this user"
    return _Silent(
        f"the embedded server of {folder.path} is alive ({who} holds {folder.lock.name}) but has not answered for "
        f"{waited_s:g} s: it hangs, was suspended, or its socket was deleted. See {folder.log}. Remedy: "
        f"`batchq server stop`, and if that does not help {kill}; at most the last second of writes is lost."
    )


def _shut_down(folder: Folder, server: EmbeddedServer) -> None:
    import redis

    try:
        with connect(server) as client:
            client.shutdown(nosave=True)  # no snapshot; it flushes and fsyncs the append-only file
    except redis.ResponseError as exc:
        raise ServerError(f"the embedded server refuses to stop: {exc}. See {folder.log}") from exc
    except redis.RedisError:
        pass  # it went, or hangs: the lock tells


def _terminate(folder: Folder) -> bool:
    """Ask the process by signal; False unless it proves to be this folder's server by its title."""
    import psutil

    state = folder.read_state()
    if state is None or state.pid is None:
        return False
    try:
        if state.instance_id not in " ".join(psutil.Process(state.pid).cmdline()):
            return False
        os.kill(state.pid, signal.SIGTERM)  # it shuts down as on SHUTDOWN
    except (psutil.Error, OSError):
        return False
    return True
