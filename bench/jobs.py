"""Many small jobs beside one large one: the same number of items, the same worker."""

from __future__ import annotations

import argparse
import os

from batchq import Client
from bench.meter import Cost, Meter, compared
from bench.overhead import finished, through_batchq
from bench.stage import stage


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench jobs", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--each", type=int, default=20, help="items")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args(arguments)
    items = asked.jobs * asked.each
    many, one = f"{asked.jobs} jobs of {asked.each}", f"one job of {items}"
    runs: dict[str, list[Cost]] = {many: [], one: []}
    with stage() as this:
        worker = this.worker(100, queues="batchq.control,batchq.noop")
        meter = Meter(
            this.redis_url, {"worker": [worker.pid], "server": [this.server], "submitter": [os.getpid()]}
        )
        with this.client() as client:
            through_batchq(client, 500)  # warms up
            for _ in range(asked.runs):
                runs[many].append(meter.measure(items, lambda: through_many(client, asked.jobs, asked.each)))
                runs[one].append(meter.measure(items, lambda: through_batchq(client, items)))
    print(f"median of {asked.runs} (and spread)\n")
    print(compared(runs))


def through_many(client: Client, jobs: int, each: int) -> None:
    """All are submitted before any is waited for."""
    ids = [
        client.submit((f"prompt {number}" for number in range(each)), operation="noop").id
        for _ in range(jobs)
    ]
    finished(client, *ids)
