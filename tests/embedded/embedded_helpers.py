"""What the tests of the embedded server share: waiting, clients, crashes, processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from batchq import embedded
from batchq.embedded.folder import Folder


def wait_until(true: Callable[[], object], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.01)


def client(server: embedded.EmbeddedServer, password: str | None = None) -> redis.Redis:
    place = {"unix_socket_path": server.socket} if server.socket else {"port": server.port}
    return redis.Redis(
        **place,
        password=server.password if password is None else password,
        decode_responses=True,
        socket_timeout=5,
        retry=Retry(NoBackoff(), 0),
    )


def crash(server: embedded.EmbeddedServer) -> None:
    """kill -9, and wait until the kernel has cleaned up."""
    psutil.Process(server.pid).send_signal(signal.SIGKILL)
    wait_until(lambda: not Folder.at(Path(server.data_dir)).locked())


def python(code: str, *args: object) -> subprocess.Popen[str]:
    """A Python process of its own that runs the code; `args` are its sys.argv[1:]."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out.strip()


def ended(pid: int) -> bool:
    """Is the process over? One that nobody reaped yet is."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
