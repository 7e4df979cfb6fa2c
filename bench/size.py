"""Jobs of 10,000 to 1,000,000 items of 1 kB: what an item costs must not depend on how many there are.

Submitted by the command line from a file, as a process of its own whose memory is read; worked off by one worker
that started fresh. At rest, the store is what STRLEN says of the compressed shards and outcomes, and all that
lies beside them.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from batchq.store.database import Database
from bench.meter import Meter, markdown, peak_mb
from bench.overhead import finished
from bench.stage import Submitted, stage

WORDS = [
    f"{start}{end}"
    for start in ("ba", "co", "di", "fe", "gu", "lo", "ma")
    for end in ("r", "ne", "ltic", "sto")
]
IN_FLIGHT = 200


@dataclass(frozen=True, slots=True)
class Seen:
    items: int
    cpu_ms: float  # an item: worker and server
    submit_ms: float  # an item: the submitting process
    loop_ms: float  # an item: read, parse and compress, nothing else
    commands: float
    data: float  # bytes an item, compressed
    beside: float  # bytes an item, all else of the job at rest
    submitter_mb: float
    worker_mb: float
    items_per_s: float


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench size", description=__doc__)
    parser.add_argument("--items", type=int, nargs="*", default=[10_000, 100_000])
    asked = parser.parse_args(arguments)
    rows: list[list[str]] = [list(Seen.__slots__)]
    for items in asked.items:
        seen = measured(items)
        rows.append([f"{getattr(seen, name):,.6g}" for name in Seen.__slots__])
        print(" ".join(f"{name} {value}" for name, value in zip(rows[0], rows[-1], strict=True)), flush=True)
    print(
        f"\n{markdown(rows)}\n\nRedis for each item in flight, its message included: {in_flight_bytes():,.0f} bytes"
    )


def measured(items: int) -> Seen:
    with stage() as this:
        lines = this.folder / "items.jsonl"
        write(lines, items)
        loop_s = reading_loop(lines)
        worker = this.worker(100, queues="batchq.control,batchq.noop")
        meter = Meter(this.redis_url, {"worker": [worker.pid], "server": [this.server]})
        with this.client() as client:
            submitted: list[Submitted] = []

            def work() -> None:
                submitted.append(this.submit(str(lines), "--operation", "noop"))
                finished(client, submitted[0].job_id)

            cost = meter.measure(items, work)
        [job] = submitted
        data, beside = at_rest(Database(this.redis_url), job.job_id)
        return Seen(
            items,
            1000 * sum(cost.cpu_s.values()) / items,
            1000 * job.cpu_s / items,
            1000 * loop_s / items,
            cost.commands / items,
            data / items,
            beside / items,
            job.mb,
            peak_mb(worker.pid),
            items / cost.wall_s,
        )


def write(path: Path, items: int) -> None:
    """1 kB a line, no two alike."""
    dice = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        for number in range(items):
            text = " ".join(dice.choices(WORDS, k=240))[:950]
            file.write(json.dumps({"id": f"item-{number:07}", "prompt": f"{number} {text}"}) + "\n")


def reading_loop(path: Path) -> float:
    """Processor seconds of a loop that reads, parses and compresses the same file, 200 lines at a time."""
    began = time.process_time()
    pending: list[object] = []
    with path.open("rb") as file:
        for line in file:
            pending.append(json.loads(line))
            if len(pending) == 200:
                zlib.compress(json.dumps(pending).encode())
                pending.clear()
    return time.process_time() - began


def at_rest(database: Database, job_id: str) -> tuple[int, int]:
    """Bytes of the compressed data, and of everything else that is stored of the job: names and values."""
    keys = database.job_keys(job_id)
    data = beside = 0
    for key in keys.all(1):
        kind = database.command("TYPE", key)
        size = 0
        if kind == b"hash":
            fields = database.command("HKEYS", key)
            for at in range(0, len(fields), 1_000):
                some = fields[at : at + 1_000]
                size += sum(database.batch([("HSTRLEN", key, field) for field in some]))
                beside += sum(map(len, some))
        elif kind == b"string":
            size = database.command("STRLEN", key)
        elif kind != b"none":
            size = database.command("MEMORY", "USAGE", key)
        if key in (keys.input, keys.output):
            data += size
        else:
            beside += size
    return data, beside


def in_flight_bytes() -> float:
    """What one item in flight takes of the server beside its data: stored, taken, sent and claimed."""
    with stage() as this:
        database = Database(this.redis_url)
        with this.client() as client:
            job = client.submit((f"prompt {number}" for number in range(IN_FLIGHT)), operation="doze")
            before = used(database)
            worker = this.worker(IN_FLIGHT, queues="batchq.control,batchq.doze")
            while (record := client.get(job.id).status()).processing < IN_FLIGHT:
                assert worker.poll() is None
                assert not record.succeeded, "the first ended before the last began"
                time.sleep(0.05)
            return (used(database) - before) / IN_FLIGHT


def used(database: Database) -> int:
    """By the keys: the server's own figures hold the buffers of its connections too."""
    return sum(
        database.batch([("MEMORY", "USAGE", key, "SAMPLES", 0) for key in database.command("KEYS", "*")])
    )
