"""Redis servers of a test's own: on a port, with whatever options it wants, gone when it ends."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from batchq.embedded import binary

STARTED_S = 10


@dataclass
class RedisServer:
    """A server program that answers."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self, *words: Any) -> Any:
        with redis.Redis(port=self.port) as client:
            return client.execute_command(*words)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def redis_server(folder: Path, *options: str, configuration: str = "") -> Iterator[RedisServer]:
    """`configuration` is the text of a file that the server may rewrite, as a Sentinel does."""
    folder.mkdir(parents=True, exist_ok=True)
    port, file = free_port(), folder / "redis.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{configuration}\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary.find().path, str(file), *options], stdout=log, stderr=log)
    server = RedisServer(port, process)
    with ExitStack() as ending:
        ending.callback(server.kill)
        _wait_for(server, folder / "log")
        yield server


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


IN_MEMORY = ("--save", "", "--appendonly", "no")
DURABLE = ("--save", "", "--appendonly", "yes")
