"""What an item costs beside the call: batchq against a plain Celery chord, same worker line, same server.

    python bench/overhead.py [--items 10000] [--runs 5] [--slots 100]

CPU of all processes (worker, server, submitter) decides; wall time is printed. Runs alternate, so that a machine
whose speed drifts drifts for both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from batchq import Client, embedded
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.wiring import Place

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Figures:
    cpu_ms: float  # an item, all processes
    worker_ms: float
    server_ms: float
    submitter_ms: float
    items_per_s: float
    commands: float  # an item, those inside scripts too


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def measured(server: embedded.EmbeddedServer, worker: int, items: int, work: Callable[[], None]) -> Figures:
    database = Database(server.url)
    stats = database.command("INFO", "stats")
    before = [cpu_s(worker), cpu_s(server.pid), cpu_s(os.getpid())]
    started = time.perf_counter()
    work()
    wall = time.perf_counter() - started
    worker_s, server_s, own_s = (
        cpu_s(pid) - at for pid, at in zip((worker, server.pid, os.getpid()), before, strict=True)
    )
    commands = (
        database.command("INFO", "stats")["total_commands_processed"] - stats["total_commands_processed"]
    )
    ms = 1000 / items
    return Figures(
        (worker_s + server_s + own_s) * ms,
        worker_s * ms,
        server_s * ms,
        own_s * ms,
        items / wall,
        commands / items,
    )


def start_worker(app: str, queues: str, slots: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    line = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        app,
        "worker",
        "-P",
        "gevent",
        "-c",
        str(slots),
        "-l",
        "WARNING",
    ]
    return subprocess.Popen(
        [*line, "--without-gossip", "--without-mingle", "-Q", queues],
        cwd=HERE.parent,
        env={**os.environ, **environment, "PYTHONPATH": str(HERE)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def batchq_run(client: Client, items: int) -> Callable[[], None]:
    def work() -> None:
        job = client.submit((f"prompt {number}" for number in range(items)), operation="noop")
        while job._client.walk.jobs.state(job.id) != "completed":
            time.sleep(0.05)

    return work


def plain_run(items: int) -> Callable[[], None]:
    def work() -> None:
        from celery import chord, group
        from plain_celery import done, noop

        result = chord(group(noop.s(number) for number in range(items)))(done.s())
        while not result.ready():
            time.sleep(0.05)
        result.forget()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slots", type=int, default=100)
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    with tempfile.TemporaryDirectory() as folder:
        server = embedded.start(Path(folder))
        os.environ["BENCH_REDIS_URL"] = server.url
        environment = {"BATCHQ_REDIS_URL": server.url, "BATCHQ_INCLUDE": "bench_operations"}
        own = start_worker("workers", "batchq.control,batchq.noop", options.slots, environment)
        plain = start_worker("plain_celery", "plain", options.slots, environment)
        settings = Settings(redis_url=server.url, include=("bench_operations",))
        try:
            with Client(place=Place(settings, embedded=True)) as client:
                runs: dict[str, list[Figures]] = {"batchq": [], "plain": []}
                for round_number in range(options.runs + 1):  # the first warms up
                    items = 500 if round_number == 0 else options.items
                    for name, worker, work in (
                        ("batchq", own, batchq_run(client, items)),
                        ("plain", plain, plain_run(items)),
                    ):
                        figures = measured(server, worker.pid, items, work)
                        if round_number:
                            runs[name].append(figures)
                            print(f"{name:7} {figures}", flush=True)
                report(runs)
        finally:
            for worker in (own, plain):
                worker.kill()
                worker.wait()
            embedded.stop(Path(folder))


def report(runs: dict[str, list[Figures]]) -> None:
    def median(name: str, field: str) -> float:
        return statistics.median(getattr(one, field) for one in runs[name])

    print(f"\n{'':16}{'batchq':>10}{'plain':>10}{'ratio':>8}")
    for field in ("cpu_ms", "worker_ms", "server_ms", "submitter_ms", "items_per_s", "commands"):
        ours, theirs = median("batchq", field), median("plain", field)
        print(f"{field:16}{ours:10.3f}{theirs:10.3f}{ours / theirs:8.2f}")


if __name__ == "__main__":
    main()
