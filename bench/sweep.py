"""Shards and waves from tiny to huge: what each size costs, and where more brings nothing."""

from __future__ import annotations

import argparse
import os

from batchq.settings import Settings
from bench.meter import Meter, markdown, peak_mb
from bench.overhead import through_batchq
from bench.stage import stage

SIZES = (10, 50, 200, 500, 1_000)  # no setting takes more


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench sweep", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args(arguments)
    usual = Settings()
    rows: list[list[object]] = [
        [
            "items a shard",
            "items a wave",
            "CPU, ms an item",
            "Redis commands an item",
            "items/s",
            "worker, MB",
        ]
    ]
    sizes = [(shard, usual.wave_items) for shard in SIZES] + [(usual.shard_items, wave) for wave in SIZES]
    for shard, wave in dict.fromkeys(sizes):
        rows.append([shard, wave, *measured(shard, wave, asked.items, asked.runs)])
    print(f"{asked.items} items, the cheapest of {asked.runs} runs\n")
    print(markdown(rows))


def measured(shard: int, wave: int, items: int, runs: int) -> list[str]:
    sizes = {"SHARD_ITEMS": shard, "WAVE_ITEMS": wave}
    with stage(settings=sizes) as this:
        worker = this.worker(100, queues="batchq.control,batchq.noop")
        meter = Meter(
            this.redis_url, {"worker": [worker.pid], "server": [this.server], "submitter": [os.getpid()]}
        )
        with this.client(shard_items=shard, wave_items=wave) as client:
            through_batchq(client, 500)
            costs = [meter.measure(items, lambda: through_batchq(client, items)) for _ in range(runs)]
        best = min((cost.figures() for cost in costs), key=lambda one: one["CPU of all, ms an item"])
        return [
            f"{best['CPU of all, ms an item']:.2f}",
            f"{best['Redis commands an item']:.1f}",
            f"{best['items a second']:.0f}",
            f"{peak_mb(worker.pid):.0f}",
        ]
