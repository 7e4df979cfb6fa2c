"""Real worker processes on the suite's real server, with leases short enough to watch them end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from batchq import Client
from batchq.embedded import EmbeddedServer
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.wiring import Place

OPERATIONS = Path(__file__).parent / "fleet"  # where fleet_operations.py lies
SHORT = {
    "heartbeat_s": 0.4,
    "lease_s": 2.0,
    "sweep_s": 0.3,
    "undelivered_s": 3.0,
    "permit_wait_s": 5.0,
    "grace_s": 5.0,
}


@dataclass
class Fleet:
    """Starts and kills workers; knows what the operations were called with."""

    url: str
    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def calls_file(self) -> Path:
        return self.folder / "calls"

    @property
    def environment(self) -> dict[str, str]:
        short = {f"BATCHQ_{name.upper()}": str(value) for name, value in SHORT.items()}
        return {
            **os.environ,
            **short,
            "BATCHQ_REDIS_URL": self.url,
            "BATCHQ_INCLUDE": "fleet_operations",
            "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",  # workers without any way to Gemini do not start
            "FLEET_CALLS": str(self.calls_file),
            "PYTHONPATH": str(OPERATIONS),
            **self.extra,
        }

    def start(
        self, pool: str = "gevent", slots: int = 20, *options: str, app: str = "workers", level: str = "INFO"
    ) -> subprocess.Popen[bytes]:
        """A worker process, in the foreground of its own group, ready when it has beaten."""
        log = self.log(len(self.workers)).open("wb")
        worker = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "celery",
                "-A",
                app,
                "worker",
                "-P",
                pool,
                "-c",
                str(slots),
                "-l",
                level,
                "-n",
                f"w{len(self.workers)}@%h",
                *options,
            ],
            cwd=OPERATIONS.parents[1],
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.workers.append(worker)
        return worker

    def send(self, name: str, **kwargs: Any) -> str:
        """Send one message to the control queue, as any program may; its task id."""
        from batchq.dispatch import make_app

        app = make_app(Settings(redis_url=self.url))
        return str(app.send_task(name, kwargs=kwargs, queue="batchq.control").id)

    def log(self, number: int) -> Path:
        return self.folder / f"worker-{number}.log"

    def logs(self) -> str:
        return "\n".join(self.log(number).read_text() for number in range(len(self.workers)))

    def calls(self) -> Counter[str]:
        """How often each item's operation was begun."""
        return Counter(words[1] for words in self.lines() if words[0] == "call")

    def lines(self) -> list[list[str]]:
        return (
            [line.split() for line in self.calls_file.read_text().splitlines()]
            if self.calls_file.exists()
            else []
        )

    def stop(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()


@pytest.fixture
def fleet(server: EmbeddedServer, database: Database, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(server.url, tmp_path)
    fleet.calls_file.touch()
    yield fleet
    fleet.stop()


def settings_on(url: str, **more: Any) -> Settings:
    """What a client of these workers goes by."""
    return Settings(redis_url=url, include=("fleet_operations",), **{**SHORT, **more})


@pytest.fixture
def client(server: EmbeddedServer, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("FLEET_CALLS", str(fleet.calls_file))
    monkeypatch.syspath_prepend(str(OPERATIONS))
    with Client(place=Place(settings_on(server.url), embedded=True)) as client:
        yield client


def eventually(what: Callable[[], object], within_s: float = 30.0) -> None:
    """Poll until it holds; the last failure is what the test shows."""
    deadline = time.monotonic() + within_s
    while True:
        if what():
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {within_s} s")
        time.sleep(0.02)
