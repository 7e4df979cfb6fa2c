"""Redis servers of a test's own: on a port, with whatever options it wants, gone when it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from batchq.embedded import binary

STARTED_S = 10


@dataclass
class RedisServer:
    """A server program that answers. `kill` and `stop` leave its folder; `start` goes on with what is there."""

    port: int
    folder: Path
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]
    password: str | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self, *words: Any) -> Any:
        with redis.Redis(port=self.port, password=self.password, socket_timeout=STARTED_S) as client:
            return client.execute_command(*words)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As SHUTDOWN does: what is to be kept is written."""
        self.process.terminate()
        self.process.wait(STARTED_S)

    def start(self) -> None:
        """Start it again, on the same port and folder, and wait until it answers."""
        self.process = _run(self.folder, self.options)
        _wait_for(self, self.folder / "log")

    def stall(self) -> None:
        """From here on it neither answers nor hangs up, until `go_on`."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def redis_server(
    folder: Path, *options: str, configuration: str = "", password: str | None = None
) -> Iterator[RedisServer]:
    """`configuration` is the text of a file that the server may rewrite, as a Sentinel does."""
    folder.mkdir(parents=True, exist_ok=True)
    port, file = free_port(), folder / "redis.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{configuration}\n")
    server = RedisServer(port, folder, options, _run(folder, options), password)
    with ExitStack() as ending:
        ending.callback(server.kill)
        _wait_for(server, folder / "log")
        yield server


def _run(folder: Path, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        command = [binary.find().path, str(folder / "redis.conf"), *options]
        # with signals restored a full disk (SIGXFSZ) would end the server, which is to say that it is full
        return subprocess.Popen(command, stdout=log, stderr=log, restore_signals=False)


def _wait_for(server: RedisServer, log: Path) -> None:
    deadline = time.monotonic() + STARTED_S
    while True:
        try:
            server.command("PING")
            return
        except redis.exceptions.RedisError:
            assert server.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)


def until(what: Callable[[], object], told: str, within_s: float = 30.0) -> None:
    """Poll until it holds; `told` is what is wrong when it does not come to that."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


IN_MEMORY = ("--save", "", "--appendonly", "no")
DURABLE = ("--save", "", "--appendonly", "yes")
