"""What late acknowledgement costs and brings, now that leases heal what a dead worker held.

Twice the same fleet and job, once with messages acknowledged after their items, once before: the cost of an item
that does nothing, and the time from kill -9 of one of two workers to the end of its job.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import time

from bench.meter import Cost, Meter, compared, markdown
from bench.overhead import finished, through_batchq
from bench.stage import INCLUDE, Stage, stage

LEASES = {"HEARTBEAT_S": 0.4, "LEASE_S": 2, "SWEEP_S": 0.3, "UNDELIVERED_S": 3}
WAYS = {"late": INCLUDE, "early": (*INCLUDE, "early_acks")}
QUEUES = "batchq.control,batchq.noop,batchq.doze"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench acks", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slots", type=int, default=100)
    asked = parser.parse_args(arguments)
    print(
        f"{asked.items} items, one worker of {asked.slots} greenlets, median of {asked.runs} (and spread)\n"
    )
    print(compared(costs(asked.items, asked.runs, asked.slots)))
    print(
        f"\nkill -9 of one of two workers at its calls of 3 s, to the end of the job, {asked.runs} runs, s\n"
    )
    rows: list[list[object]] = [["acknowledged", "median", "shortest", "longest"]]
    for way, include in WAYS.items():
        times = [recovery_s(include, asked.slots) for _ in range(asked.runs)]
        rows.append([way, *(f"{one:.1f}" for one in (statistics.median(times), min(times), max(times)))])
    print(markdown(rows))


def costs(items: int, runs: int, slots: int) -> dict[str, list[Cost]]:
    found: dict[str, list[Cost]] = {way: [] for way in WAYS}
    with contextlib.ExitStack() as last:
        stages = {way: last.enter_context(with_acks(include)) for way, include in WAYS.items()}
        parts = {}
        for way, this in stages.items():
            worker = this.worker(slots, queues=QUEUES)
            pids = {"worker": [worker.pid], "server": [this.server], "submitter": [os.getpid()]}
            parts[way] = last.enter_context(this.client()), Meter(this.redis_url, pids)
        for number in range(runs + 1):  # the first warms up
            for way, (client, meter) in parts.items():
                cost = meter.measure(items, lambda client=client: through_batchq(client, items))
                if number:
                    found[way].append(cost)
    return found


def recovery_s(include: tuple[str, ...], slots: int) -> float:
    with with_acks(include) as this:
        doomed, _ = (this.worker(slots, queues=QUEUES) for _ in range(2))
        with this.client() as client:
            job = client.submit((f"prompt {number}" for number in range(3 * slots)), operation="doze")
            while job.status().processing < 2 * slots or not any(beat.running for beat in client.fleet()):
                time.sleep(0.05)
            os.killpg(doomed.pid, signal.SIGKILL)
            began = time.perf_counter()
            finished(client, job.id)
            return time.perf_counter() - began


def with_acks(include: tuple[str, ...]) -> contextlib.AbstractContextManager[Stage]:
    return stage(settings={**LEASES, "INCLUDE": ",".join(include)})
