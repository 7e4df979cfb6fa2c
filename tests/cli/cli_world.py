"""A folder to run `batchq` in, with its processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from batchq.cli import main

BATCHQ = (sys.executable, "-c", "import sys; from batchq.cli import main; sys.exit(main())")
ON_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from batchq.cli import main
sys.exit(main())
"""
HERE = Path(__file__).parent
_numbers = itertools.count(1)


def wait_until(true: Callable[[], Any], within_s: float = 30) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.02)
    return found


class House:
    """`environ` also holds for calls of batchq.cli.main in the test's own process."""

    def __init__(self, data_dir: Path, folder: Path, outside: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._outside = outside
        self.namespace = f"cli-{os.getpid()}-{next(_numbers)}"
        self.data_dir = data_dir
        self.environ = {
            "BATCHQ_DATA_DIR": str(data_dir),
            "BATCHQ_NAMESPACE": self.namespace,
            "BATCHQ_INCLUDE": "cli_operations",
            "CLI_FOLDER": str(folder),
            "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}",  # the checkout that these tests are of
            "BATCHQ_REMOTE_CONTROL": "0",  # a worker ends a second sooner
            "PYTHONSAFEPATH": "1",  # as an installed `batchq`: the working folder is not on the path
        }
        self._processes: list[Process] = []

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, *arguments: str, **environ: str) -> Process:
        process = Process(
            self.folder, arguments, {**(self._outside or os.environ), **self.environ, **environ}
        )
        self._processes.append(process)
        return process

    def start_on_a_terminal(self, *arguments: str) -> OnTerminal:
        process = OnTerminal(self.folder, arguments, {**(self._outside or os.environ), **self.environ})
        self._processes.append(process)
        return process

    def run(self, *arguments: str, **environ: str) -> Process:
        process = self.start(*arguments, **environ)
        process.wait()
        return process

    def opened(self) -> None:
        """Open the gate of `gated`."""
        (self.folder / "gate").touch()

    def marks(self, pattern: str) -> int:
        return sum(len(path.read_text()) for path in self.folder.glob(pattern))

    def left_behind(self) -> list[psutil.Process]:
        """Workers and emulators of this test that are alive."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("BATCHQ_NAMESPACE") == self.namespace
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return [one for one in found if one.pid != os.getpid() and _is_child(one)]

    def clear(self) -> None:
        for process in self._processes:
            process.kill()
        for left in self.left_behind():
            left.kill()


def _is_child(process: psutil.Process) -> bool:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "batchq.local.launch" in line or "batchq.emulator" in line


class Process:
    """One `batchq` process, its output in files."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
        number = next(_numbers)
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*BATCHQ, *arguments],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def wait(self, timeout: float = 100) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.err}") from None

    def says(self, text: str) -> None:
        """Wait for a text on stderr."""

        def said() -> bool:
            assert self.process.poll() is None or text in self.err, f"it ended without {text!r}:\n{self.err}"
            return text in self.err

        wait_until(said)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class OnTerminal(Process):
    """One `batchq` process in the foreground of a terminal of its own: Ctrl-C reaches its whole process group."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
        self._keys, terminal = os.openpty()
        self._shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, *arguments],
            cwd=folder,
            env=environ,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def err(self) -> str:
        """What the terminal showed so far."""
        return self._shown.decode(errors="replace")

    def type(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def _read(self) -> None:
        """To the end: who writes to a terminal that nobody reads comes to a halt."""
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while part := os.read(self._keys, 65_536):
                self._shown += part
        os.close(self._keys)


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Terminal:
    """`batchq` called as its entry point calls it, in the test's own process."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *arguments: str) -> Answer:
        self._capfd.readouterr()
        code = main(arguments)
        out, err = self._capfd.readouterr()
        assert "Traceback" not in err
        return Answer(code, out, err)
