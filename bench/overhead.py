"""What an item costs beside its call: batchq against a plain Celery chord, same worker line, same server.

An operation that returns at once, from the first publish to the finished record. Processor time of all processes
(worker, server, submitter) decides; wall time is printed. Runs alternate, so that a machine whose speed drifts
drifts for both.
"""

from __future__ import annotations

import argparse
import os
import time

from batchq import Client
from bench.meter import Cost, Meter, compared
from bench.stage import stage


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench overhead", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slots", type=int, default=100)
    asked = parser.parse_args(arguments)
    with stage() as this:
        os.environ["BATCHQ_REDIS_URL"] = this.redis_url  # plain_celery's address
        own = this.worker(asked.slots, queues="batchq.control,batchq.noop")
        plain = this.worker(asked.slots, app="plain_celery", queues="plain")
        meters = {
            name: Meter(
                this.redis_url, {"worker": [worker.pid], "server": [this.server], "submitter": [os.getpid()]}
            )
            for name, worker in (("batchq", own), ("plain Celery", plain))
        }
        runs: dict[str, list[Cost]] = {name: [] for name in meters}
        with this.client() as client:
            for number in range(asked.runs + 1):  # the first warms up
                items = asked.items if number else 500
                costs = {
                    "batchq": meters["batchq"].measure(items, lambda n=items: through_batchq(client, n)),
                    "plain Celery": meters["plain Celery"].measure(items, lambda n=items: as_a_chord(n)),
                }
                for name, cost in costs.items() if number else ():
                    runs[name].append(cost)
    print(
        f"{asked.items} items, one worker of {asked.slots} greenlets, median of {asked.runs} (and spread)\n"
    )
    print(compared(runs))


def through_batchq(client: Client, items: int) -> None:
    finished(client, client.submit((f"prompt {number}" for number in range(items)), operation="noop").id)


def finished(client: Client, *job_ids: str) -> None:
    """Wait in the cheapest way there is: the state alone, twenty times a second."""
    for job_id in job_ids:
        while client.walk.jobs.state(job_id) != "completed":
            time.sleep(0.05)


def as_a_chord(items: int) -> None:
    from celery import chord, group
    from plain_celery import done, noop

    result = chord(group(noop.s(number) for number in range(items)))(done.s())
    while not result.ready():
        time.sleep(0.05)
    result.forget()
