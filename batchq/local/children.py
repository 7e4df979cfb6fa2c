"""Workers and emulator as child processes: started with a log of their own, watched, ended without remains.

Each gets a session of its own, so that Ctrl-C in the terminal reaches the command alone, which then ends them in
good order. Should the command be killed, they end by themselves: workers see their pipe end, and the emulator its
own, which the workers hold too, so that calls under way have somebody to ask.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchq.embedded import default_data_dir
from batchq.errors import BatchqError

START_S = 20.0  # for the emulator to say its address
SLOTS = 100  # items a local worker runs at once
RESTARTS = 3  # of workers in one run: an item that kills them is set aside after that many
KEPT_LOGS = 40
QUOTED_LINES = 15  # of a log, in messages
POLL_S = 0.05
MARGIN_S = 5.0  # beyond the grace of calls, for a worker's own ending


def celery_command(arguments: Sequence[str], fd: int | None = None) -> list[str]:
    """The command line of a Celery process with the installed workers, from any folder."""
    pipe = "-" if fd is None else str(fd)
    return [sys.executable, "-P", "-m", "batchq.local.launch", pipe, "-A", "workers", *arguments]


def log_folder() -> Path:
    """Where the logs of local processes are, for this user only; made when it is not there. Raises BatchqError."""
    folder = default_data_dir().parent / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise BatchqError(
            f"logs cannot be written to {folder}: {exc.strerror or exc}. Set BATCHQ_DATA_DIR to another folder"
        ) from exc
    return folder


class LocalWorkers:
    """So many workers on this machine. A context manager: leaving it ends them, gently the first time."""

    def __init__(
        self,
        count: int,
        environ: Mapping[str, str],
        queues: Sequence[str],
        *,
        slots: int = SLOTS,
        grace_s: float,
        holds: Sequence[int] = (),
    ) -> None:
        """`holds` are file descriptors that each worker keeps open as long as it lives."""
        self._queues = tuple(queues)
        self._environ, self._slots, self._grace_s = dict(environ), slots, grace_s
        self._workers: list[_Child] = []
        self._holds = tuple(holds)
        self._restarts = 0
        self._ending = False
        # held open until this process ends, whatever ends it; no child inherits the writing end
        self._theirs, self._ours = os.pipe()
        for number in range(1, count + 1):
            self._workers.append(self._start(number))

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def logs(self) -> list[Path]:
        return [worker.log for worker in self._workers]

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers]

    @property
    def all_began(self) -> bool:
        return all(worker.began for worker in self._workers)

    def saw(self, pids: Collection[int]) -> None:
        """These processes have beaten: they could start."""
        for worker in self._workers:
            worker.began = worker.began or worker.process.pid in pids

    def check(self) -> list[str]:
        """Start again what crashed; a sentence for each. Raises BatchqError where that does not help.

        A worker that died before anybody `saw` it would die the next time too.
        """
        told = []
        for place, worker in enumerate(self._workers):
            if self._ending or worker.process.poll() is None:
                continue
            how = _how_ended(worker.process.returncode)
            if not worker.began:
                raise BatchqError(
                    f"a local worker could not start ({how}). The end of its log {worker.log}:\n{worker.tail()}"
                )
            if self._restarts >= RESTARTS:
                raise BatchqError(
                    f"local workers died {RESTARTS + 1} times ({how}). The end of the last log {worker.log}:\n"
                    f"{worker.tail()}"
                )
            self._restarts += 1
            self._workers[place] = self._start(worker.number)
            told.append(f"a local worker died ({how}, log: {worker.log}); another one goes on")
        return told

    def end(self) -> None:
        """Ask them to end: calls under way finish, the rest goes back. Returns at once."""
        self._ending = True
        for worker in self._workers:
            worker.signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait for them as long as calls are given, then kill what is left."""
        give_up = time.monotonic() + self._grace_s + MARGIN_S
        while time.monotonic() < give_up and any(one.process.poll() is None for one in self._workers):
            time.sleep(POLL_S)
        self.kill()

    def kill(self) -> None:
        """End them at once. What they were at comes back when their leases end."""
        self._ending = True
        for worker in self._workers:
            worker.kill()
        for fd in (self._ours, self._theirs):
            with contextlib.suppress(OSError):
                os.close(fd)

    def _start(self, number: int) -> _Child:
        arguments = ["worker", "-P", "gevent", "-c", str(self._slots), "-l", "warning"]
        arguments += ["-n", f"batchq-run-{os.getpid()}-{number}@%h"]
        arguments += ["-Q", ",".join(self._queues)]
        command = celery_command(arguments, self._theirs)
        kept = (self._theirs, *self._holds)
        return _Child.start(f"worker-{number}", number, command, self._environ, pass_fds=kept)


class LocalEmulator:
    """The local Gemini API, for this command's own workers. Ends when this process and all workers are gone."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Start it and wait for its address. Raises BatchqError."""
        theirs, self.lifeline = os.pipe()  # for the workers to hold
        command = [sys.executable, "-P", "-m", "batchq.emulator", "--port", "0", "--exit-with", str(theirs)]
        self._child = _Child.start(
            "emulator", 1, command, environ, stdout=subprocess.PIPE, pass_fds=(theirs,)
        )
        os.close(theirs)
        try:
            self.url = self._address()
        except BaseException:
            self._child.kill()
            raise

    def check(self) -> None:
        """Raises BatchqError when it is gone: its workers could only fail."""
        if self._child.process.poll() is not None:
            raise BatchqError(
                f"the local emulator ended ({_how_ended(self._child.process.returncode)}). The end of its log "
                f"{self._child.log}:\n{self._child.tail()}"
            )

    def end(self) -> None:
        self._child.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.process.wait(2)
        self._child.kill()
        with contextlib.suppress(OSError):
            os.close(self.lifeline)

    def _address(self) -> str:
        out = self._child.process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], START_S)
        address = out.readline().decode().strip() if ready else ""
        if address.startswith("http"):
            return address
        what = "could not start" if ready else f"said no address within {START_S:g} s"
        raise BatchqError(f"the local emulator {what}. Its log {self._child.log}:\n{self._child.tail()}")


@dataclass(slots=True)
class _Child:
    number: int
    process: subprocess.Popen[bytes]
    log: Path
    began: bool = False  # it has beaten

    @classmethod
    def start(
        cls,
        name: str,
        number: int,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        stdout: int | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> _Child:
        folder = log_folder()
        _forget_old_logs(folder)
        path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{name}.log"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            process = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        return cls(number, process, path)

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """The child's whole session, while its id is surely still its own."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def tail(self) -> str:
        """The last lines of the log, indented."""
        try:
            text = self.log.read_bytes()[-20_000:].decode(errors="replace")
        except OSError as exc:
            return f"    ({exc})"
        kept = [line for line in text.splitlines() if line.strip()][-QUOTED_LINES:]
        return "\n".join(f"    {line}" for line in kept) or "    (it is empty)"


def _forget_old_logs(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for old in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)


def _how_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
