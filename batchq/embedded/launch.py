"""Start the server program, detached from the command that asked for it."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Set
from dataclasses import dataclass, replace

from batchq.embedded import binary, config, trouble
from batchq.embedded.folder import Folder, State

LOG_BYTES = 10 * 2**20  # a longer log is put aside at the next start, as server.log.1

# The shell forks the server and ends, so the server is nobody's child: no zombie when it dies before us.
_DETACH = 'log=$1; shift; "$@" >>"$log" 2>&1 & echo $!'


@dataclass(frozen=True, slots=True)
class Launch:
    """A server that was started, whether or not it lives."""

    state: State
    former: State | None  # of the server before; None: there was none
    log_start: int  # byte of the log where its part begins


def launch(folder: Folder, lock: int, busy: Set[int | None]) -> Launch:
    """Start a server in a folder whose lock we hold, and hand the lock over to it. Does not wait for it.

    Closes `lock`: from here on the server's own copy of it says that it lives. The state is complete before
    that, so whoever finds the lock taken can reach the server, even when this process dies right here.
    """
    try:
        program = binary.find()
        _put_long_log_aside(folder)
        socket, port = config.listen_on(folder, busy)
        former = folder.read_state()
        state = State(
            instance_id=secrets.token_hex(8),
            password=former.password if former else secrets.token_urlsafe(32),
            socket=socket,
            port=port,
            binary=program.path,
            version=program.version,
        )
        folder.write_private(folder.config, config.text(state))
        folder.write_state(state)
        log_start = trouble.log_end(folder)
        pid = _spawn(folder, program.path, lock)
        folder.write_state(replace(state, pid=pid, started=time.time()))
        return Launch(state, former, log_start)
    finally:
        os.close(lock)


def _spawn(folder: Folder, program: str, lock: int) -> int:
    with folder.complaining("cannot be used to start the server"):
        done = subprocess.run(
            ["/bin/sh", "-c", _DETACH, "sh", folder.log.name, program, folder.config.name],
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[lock],
            umask=0o077,
            start_new_session=True,  # the terminal's Ctrl-C and hang-up are not for the server
            # Python ignores SIGXFSZ and the server keeps that: at a file size limit its write fails, and it
            # refuses further writes, instead of being killed.
            restore_signals=False,
        )
    return int(done.stdout)


def _put_long_log_aside(folder: Folder) -> None:
    if trouble.log_end(folder) > LOG_BYTES:
        with folder.complaining("cannot be written to"):
            folder.log.replace(folder.log.with_suffix(".log.1"))
