"""A stage for measurements: a server, an emulator and workers, all real processes of their own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchq import Client, embedded
from batchq.settings import load
from batchq.wiring import Place

ROOT = Path(__file__).parents[2]
COMMAND = "import sys; from batchq.cli import main; sys.exit(main())"
MODEL = "gemini-2.5-flash-lite"


@dataclass
class Stage:
    folder: Path
    redis_url: str
    gemini_url: str
    environ: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(self, slots: int, pool: str = "gevent") -> subprocess.Popen[bytes]:
        number = len(self.workers)
        command = [sys.executable, "-m", "celery", "-A", "workers", "worker", "-P", pool, "-c", str(slots)]
        command += ["-n", f"bench{number}@%h", "--without-gossip", "--without-mingle", "-l", "WARNING"]
        log = (self.folder / f"worker-{number}.log").open("wb")
        worker = subprocess.Popen(
            command, cwd=ROOT, env=self.environ, stdout=log, stderr=log, start_new_session=True
        )
        self.workers.append(worker)
        return worker

    def client(self) -> Client:
        settings = load(redis_url=self.redis_url)
        return Client(place=Place(settings, embedded=True))

    def emulator(self, what: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the emulator about itself, or tell it."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.gemini_url}/emulator/{what}", data, timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def stage(emulator: dict[str, Any], settings: dict[str, Any] | None = None) -> Iterator[Stage]:
    """`emulator`: its options by name; `settings`: BATCHQ_ variables without their prefix."""
    with tempfile.TemporaryDirectory(prefix="batchq-bench-") as name:
        folder = Path(name)
        server = embedded.start(folder / "server")
        options = [
            part for key, value in emulator.items() for part in (f"--{key.replace('_', '-')}", str(value))
        ]
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
            url = json.loads(text)["url"]
            environ = {key: value for key, value in os.environ.items() if not key.startswith("BATCHQ_")}
            environ |= {
                "BATCHQ_REDIS_URL": server.url,
                "GOOGLE_GEMINI_BASE_URL": url,
                "GEMINI_API_KEY": "bench-key",
                "BATCHQ_PROJECT": "bench",
            }
            environ |= {f"BATCHQ_{key}": str(value) for key, value in (settings or {}).items()}
            this = Stage(folder, server.url, url, environ)
            try:
                yield this
            finally:
                for worker in this.workers:
                    if worker.poll() is None:
                        os.killpg(worker.pid, signal.SIGKILL)
                        worker.wait()
        finally:
            gemini.terminate()
            gemini.wait()
            embedded.stop(folder / "server")
