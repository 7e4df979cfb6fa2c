"""A stage for measurements: a server, an emulator and workers, all real processes of their own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchq import Client, embedded
from batchq.settings import load
from batchq.wiring import Place

ROOT = Path(__file__).parents[1]
COMMAND = "import sys; from batchq.cli import main; sys.exit(main())"
MODEL = "gemini-2.5-flash-lite"
CONFIG = {"temperature": 0.2}  # of every call: hardly anybody has none
INCLUDE = ("operations_under_test",)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job, and what its submitting process took."""

    job_id: str
    cpu_s: float
    mb: float  # at most


@dataclass
class Stage:
    folder: Path
    server: int  # pid
    redis_url: str
    gemini_url: str | None  # of the emulator
    environ: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(
        self, slots: int, pool: str = "gevent", *, app: str = "workers", queues: str | None = None
    ) -> subprocess.Popen[bytes]:
        number = len(self.workers)
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-P", pool, "-c", str(slots)]
        command += ["-n", f"bench{number}@%h", "-l", "WARNING"]
        if queues:
            command += ["-Q", queues]
        log = (self.folder / f"worker-{number}.log").open("wb")
        worker = subprocess.Popen(
            command, cwd=ROOT, env=self.environ, stdout=log, stderr=log, start_new_session=True
        )
        self.workers.append(worker)
        return worker

    def client(self, **settings: Any) -> Client:
        """A client of the fleet, once it beats."""
        client = Client(
            place=Place(load(redis_url=self.redis_url, include=INCLUDE, **settings), embedded=True)
        )
        own = [worker for worker in self.workers if "workers" in worker.args]  # type: ignore[operator]
        while len(client.fleet()) < len(own):
            assert all(worker.poll() is None for worker in own), f"a worker ended: see {self.folder}"
            time.sleep(0.1)
        return client

    def submit(self, *arguments: str) -> Submitted:
        """`batchq submit`, as a process of its own."""
        command = [sys.executable, "-c", COMMAND, "submit", *arguments, "--json", "--no-preflight"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0, said
        return Submitted(json.loads(said)["id"], used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)

    def emulator(self, what: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the emulator about itself, or tell it."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.gemini_url}/emulator/{what}", data, timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def stage(emulator: dict[str, Any] | None = None, settings: dict[str, Any] | None = None) -> Iterator[Stage]:
    """`emulator`: its options by name, None: there is none; `settings`: BATCHQ_ variables without their prefix."""
    with contextlib.ExitStack() as last:
        folder = Path(last.enter_context(tempfile.TemporaryDirectory(prefix="batchq-bench-")))
        server = embedded.start(folder / "server")
        last.callback(embedded.stop, folder / "server")
        environ = {key: value for key, value in os.environ.items() if not key.startswith("BATCHQ_")}
        environ |= {"BATCHQ_REDIS_URL": server.url, "BATCHQ_INCLUDE": ",".join(INCLUDE)}
        environ |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}"}
        url = None
        if emulator is not None:
            url = last.enter_context(emulated(emulator))
            environ |= {
                "GOOGLE_GEMINI_BASE_URL": url,
                "GEMINI_API_KEY": "bench-key",
                "BATCHQ_PROJECT": "bench",
            }
        environ |= {f"BATCHQ_{key}": str(value) for key, value in (settings or {}).items()}
        this = Stage(folder, server.pid, server.url, url, environ)
        last.callback(_kill, this.workers)
        yield this


@contextlib.contextmanager
def emulated(wanted: dict[str, Any]) -> Iterator[str]:
    """An emulator of these options; its address."""
    options = [part for key, value in wanted.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    gemini = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "emulator", "--json", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert gemini.stdout is not None
        text = ""
        while "}" not in text:
            line = gemini.stdout.readline().decode()
            assert line, "the emulator did not start"
            text += line
        yield json.loads(text)["url"]
    finally:
        gemini.terminate()
        gemini.wait()


def _kill(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
