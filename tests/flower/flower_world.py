"""Real Flowers and workers as processes of their own, and jobs for them to show. Used by tests/browser too."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batchq import Client, Item, embedded
from batchq.core.lifecycle import ItemState
from batchq.core.records import ErrorInfo, Outcome
from batchq.settings import Settings
from batchq.store import codec
from batchq.store.database import Database
from batchq.store.job_record import Lane
from batchq.store.submissions import SubmissionStore
from batchq.wiring import Place

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFIG = ROOT / "deploy" / "flowerconfig.py"
LOGIN = "me:secret"
WORKER = "fleet-one@here"
SECRET = "the-prompt-nobody-may-see"

SCRIPT = "<script>document.title = 'broken'</script>"
IMAGE = "<img src=x onerror=\"document.title = 'broken'\"> & 'quotes' {{ 1 + 1 }}"
ANSI = "\x1b[31mred\x1b[0m\x07"
REVERSED = "invoice-\u202egnp.exe"
LONG = "x" * 10_240
HOSTILE = (SCRIPT, ANSI, REVERSED, LONG, "two\nlines")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Process:
    """A process with a log; ended by its own id."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self) -> int:
        """As a person would: SIGTERM. The exit code."""
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass
class Flower(Process):
    """A running Flower; `get` asks with its login."""

    login: str | None = None
    prefix: str = ""

    @property
    def url(self) -> str:
        """Its address, once it has said it."""

        def said() -> re.Match[str] | None:
            assert self.process.poll() is None, self.text()
            return re.search(r"Visit me at (http://[^\s/]+)", self.text())

        return eventually(said).group(1) + self.prefix

    def ask(self, path: str, *, login: str | None = None, method: str = "GET") -> Answer:
        request = urllib.request.Request(self.url + path, method=method)
        if login:
            request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return Answer(response.status, response.headers, response.read().decode())
        except urllib.error.HTTPError as exc:
            with exc:
                return Answer(exc.code, exc.headers, exc.read().decode())

    def get(self, path: str) -> Answer:
        return self.ask(path, login=self.login)


def module_of(path: str) -> Any:
    """A module of the workers by itself: importing `workers` would need a server, and set the current Celery app."""
    spec = importlib.util.spec_from_file_location(f"alone_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(url: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a process on this server: settings and operations of these tests, nothing of the developer's."""
    return {
        **os.environ,
        "BATCHQ_REDIS_URL": url,
        "BATCHQ_INCLUDE": "flower_operations",
        "PYTHONPATH": str(HERE),
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",  # workers without any way to Gemini do not start
        **(extra or {}),
    }


def start(command: list[str], log: Path, environ: Mapping[str, str], cwd: Path = ROOT) -> Process:
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=cwd, env=dict(environ), stdout=file, stderr=subprocess.STDOUT)
    return Process(process, log)


def start_flower(
    url: str,
    log: Path,
    *options: str,
    config: Path | None = CONFIG,
    login: str | None = None,
    prefix: str = "",
    extra: Mapping[str, str] | None = None,
) -> Flower:
    """`celery -A workers flower --conf=deploy/flowerconfig.py` on a free port; the login goes by variable."""
    conf = [f"--conf={config}"] if config else []
    under = [f"--url_prefix={prefix.strip('/')}"] if prefix else []
    command = [sys.executable, "-m", "celery", "-A", "workers", "flower", *conf, *under, "--port=0", *options]
    told = {**(extra or {}), **({"FLOWER_BASIC_AUTH": login} if login else {})}
    began = start(command, log, environment(url, told))
    return Flower(began.process, log, login, prefix)


def start_worker(url: str, log: Path, name: str, extra: Mapping[str, str] | None = None) -> Process:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "workers",
        "worker",
        "-P",
        "gevent",
        "-c",
        "20",
        "-n",
        name,
    ]
    return start(command, log, environment(url, extra))


@contextmanager
def client_of(url: str) -> Iterator[Client]:
    settings = Settings(redis_url=url, include=("flower_operations",))
    with Client(place=Place(settings, embedded=True)) as client:
        yield client


@dataclass(frozen=True)
class Jobs:
    """The jobs in the store, by what they are there for."""

    mixed: str  # completed, four of its items failed
    paused: str
    cancelled: str
    hostile: str  # ids and texts that no submission would take: as another program might store them


def make_jobs(client: Client, url: str) -> Jobs:
    """Needs a worker that runs."""
    rows = [Item(f"i{number}", {"n": number, "prompt": SECRET}) for number in range(30)]
    rows += [
        Item("refused", {"error": "no", "prompt": SECRET}),
        Item("schema", {"error": "the answer does not fit", "kind": "SCHEMA_MISMATCH"}),
        Item(SCRIPT, {"error": IMAGE}),
        Item(REVERSED, {"error": ANSI}),
    ]
    mixed = client.submit(rows, operation="chore")
    paused = client.submit([Item("a", {"ms": 1})], operation="chore", job_id="held")
    paused.pause(f"lunch {SCRIPT}")
    cancelled = client.submit([Item(f"i{number}", {"ms": 50}) for number in range(100)], operation="chore")
    cancelled.cancel()
    mixed.wait(30)
    hostile = store_hostile(url)
    return Jobs(mixed.id, paused.id, cancelled.id, hostile)


def store_hostile(url: str, job_id: str = "hostile") -> str:
    """Past every check of a submission: straight into the store."""
    database = Database(url)
    submissions = SubmissionStore(database)
    fields = {"operation": SCRIPT, "model": REVERSED, "created": database.server_ms(), "priority": 5}
    submissions.begin(
        job_id, "nonce", {**fields, "options": "{}", "metadata": "{}", "retention_ms": 0}, 60_000
    )
    items = [codec.dump([one, {"prompt": SECRET}]) for one in HOSTILE]
    outcome = Outcome(ItemState.FAILED, error=ErrorInfo(418, REVERSED, SCRIPT + LONG), attempts=2)
    submissions.put_shard(
        job_id,
        "nonce",
        number=0,
        base=0,
        lane=0,
        blob=codec.pack_shard(0, 0, list(range(len(items))), items),
        states="F" * len(items),
        settled=[(position, codec.pack_outcome(outcome), "TEAPOT") for position in range(len(items))],
    )
    submissions.seal(job_id, "nonce", len(items), "digest", [Lane(0, SCRIPT, None)])
    database.close()
    return job_id


@contextmanager
def made_newer(url: str, job_id: str) -> Iterator[None]:
    """The job is one that a newer batchq stored, meanwhile."""
    database = Database(url)
    key = database.job_keys(job_id).job
    before = database.command("HGET", key, "v")
    database.command("HSET", key, "v", 99)
    try:
        yield
    finally:
        database.command("HSET", key, "v", before)
        database.close()


def eventually(what: Callable[[], Any], within_s: float = 20.0) -> Any:
    """Poll until it holds; what it gave then."""
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"did not come true within {within_s:g} s"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class World:
    """`open` has no login; `guarded` has one and a prefix; `stock` runs without our configuration file."""

    url: str
    client: Client
    jobs: Jobs
    worker: Process
    open: Flower
    guarded: Flower
    stock: Flower


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """On a server of its own: others empty theirs between tests."""
    folder = tmp_path_factory.mktemp("flower")
    url = embedded.start(folder / "server").url
    with pytest.MonkeyPatch.context() as patch, client_of(url) as client:
        patch.syspath_prepend(str(HERE))
        begun: list[Process] = []
        try:
            worker = start_worker(url, folder / "worker.log", WORKER)
            begun.append(worker)
            guarded = start_flower(url, folder / "guarded.log", login=LOGIN, prefix="/ops")
            begun.append(guarded)
            plain = start_flower(url, folder / "open.log")
            begun.append(plain)
            stock = start_flower(url, folder / "stock.log", config=None)
            begun.append(stock)
            # a Flower that has heard of the worker listens; one that came later would show tasks without a name
            for flower in (guarded, plain, stock):
                eventually(lambda flower=flower: flower.get("/workers?json=1").json()["data"])
            jobs = make_jobs(client, url)
            yield World(url, client, jobs, worker, plain, guarded, stock)
        finally:
            for one in begun:
                one.kill()
            embedded.stop(folder / "server")
