"""make bench-quota ARGS="beside --rpm 600": the same calls by batchq, plain Celery and a loop, one after the other."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from celery import Celery

from batchq.core.redis_url import parse
from batchq.store.database import Database
from bench.quota.measure import use
from bench.stage import MODEL, ROOT, Stage, stage


@dataclass(frozen=True, slots=True)
class Work:
    rpm: int
    items: int
    workers: int
    slots: int  # of each

    def prompts(self) -> list[str]:
        return [f"Question {number}: what is {number} times 3?" for number in range(self.items)]


def by_batchq(this: Stage, work: Work) -> None:
    for _ in range(work.workers):
        this.worker(work.slots)
    with this.client() as client:
        job = client.submit(work.prompts(), preflight=False)
        record = job.wait(3_600)
        assert record.succeeded == work.items, record.errors


def by_celery(task: str) -> Callable[[Stage, Work], None]:
    def run(this: Stage, work: Work) -> None:
        for _ in range(work.workers):
            this.worker(work.slots, app="plain_quota", queues="plain")
        address = parse(this.redis_url)
        app = Celery(broker=address.broker_url())
        for prompt in work.prompts():
            app.send_task(task, args=(MODEL, prompt), queue="plain", ignore_result=True)
        while this.emulator("stats")["outcomes"].get("answered", 0) < work.items:
            time.sleep(0.2)

    return run


def by_semaphore(this: Stage, work: Work) -> None:
    line = [sys.executable, "-m", "bench.quota.semaphore", str(work.items), str(work.workers * work.slots)]
    subprocess.run(line, cwd=ROOT, env=this.environ, check=True)


WAYS: tuple[tuple[str, Callable[[Stage, Work], None]], ...] = (
    ("batchq", by_batchq),
    ("Celery, autoretry with backoff and jitter", by_celery("plain.again")),
    ("Celery, rate_limit of a worker's part, and autoretry", by_celery("plain.limited")),
    ("a semaphore in one asyncio process", by_semaphore),
)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.quota beside", description=__doc__)
    parser.add_argument("--rpm", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=50)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--mode", default="rolling", choices=["rolling", "fixed", "bucket"])
    parser.add_argument("--windows", type=float, default=4.0, help="minutes' worth of calls, after the first")
    asked = parser.parse_args(arguments)
    work = Work(asked.rpm, int(asked.rpm * (asked.windows + 1)), asked.workers, asked.slots)
    print(f"{work.items} calls, {work.rpm} RPM, {work.workers} × {work.slots} slots, {asked.mode}\n")
    print("| way | took | used | refused an item | most in a minute | Redis commands an item |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for name, run in WAYS:
        emulator = {"rpm": work.rpm, "latency": asked.latency, "mode": asked.mode}
        settings = {f"QUOTAS__{MODEL}__REQUESTS_PER_MINUTE": work.rpm}
        with stage(emulator, settings) as this:
            this.environ["BENCH_RATE"] = f"{work.rpm // work.workers}/m"
            before = commands(this)
            run(this, work)
            spent = (commands(this) - before) / work.items
            stats, times = this.emulator("stats"), this.emulator("admissions")
            seen = use(times, work.rpm, start_s=60.0)
            refused = stats["rate_limited"] / work.items
            took = times[-1] - times[0]
            print(
                f"| {name} | {took:.0f} s | {seen.share:.1%} | {refused:.3f} | {seen.most} | {spent:.1f} |",
                flush=True,
            )


def commands(this: Stage) -> int:
    """What the server has done so far, commands inside scripts too."""
    database = Database(this.redis_url, "bench")
    try:
        return int(database.command("INFO", "stats")["total_commands_processed"])
    finally:
        database.close()
