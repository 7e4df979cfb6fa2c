"""What a Gemini call costs through batchq: against a bare google-genai loop and a plain Celery task, on the emulator.

All have the same number of greenlets and make the same calls; the emulator answers after a set time. The bare
loop and the plain task use google-genai as its guide has it (one client). A second run of the worker samples
where its processor time goes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time

from batchq import Client
from bench.meter import Cost, Meter, compared, markdown
from bench.overhead import finished
from bench.stage import CONFIG, INCLUDE, MODEL, ROOT, stage

PROMPT = "Which of these words is a verb: apple, run, table? Number"
UNLIMITED = {f"QUOTAS__{MODEL}__REQUESTS_PER_MINUTE": 1_000_000, f"QUOTAS__{MODEL}__CONCURRENCY": 10_000}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench gemini", description=__doc__)
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    asked = parser.parse_args(arguments)
    emulator = {"latency": asked.latency}
    with stage(emulator, UNLIMITED) as this:
        os.environ.update(this.environ)  # plain_celery's address, and the bare loop's
        own = this.worker(asked.slots, queues="batchq.control,batchq.generate")
        plain = this.worker(asked.slots, app="plain_celery", queues="plain")
        own_meter, plain_meter = (
            Meter(
                this.redis_url, {"worker": [worker.pid], "server": [this.server], "submitter": [os.getpid()]}
            )
            for worker in (own, plain)
        )
        runs: dict[str, list[Cost]] = {"batchq": [], "plain Celery": [], "bare loop": []}
        with this.client() as client:
            for number in range(asked.runs + 1):  # the first warms up
                calls = asked.calls if number else 300
                costs = {
                    "batchq": own_meter.measure(calls, lambda n=calls: through_batchq(client, n)),
                    "plain Celery": plain_meter.measure(calls, lambda n=calls: as_a_chord(n)),
                    "bare loop": bare(calls, asked.slots),
                }
                for name, cost in costs.items() if number else ():
                    runs[name].append(cost)
    print(
        f"{asked.calls} calls of {asked.latency:g} s, one process of {asked.slots} greenlets, "
        f"median of {asked.runs} (and spread)\n"
    )
    print(compared(runs))
    print(f"\n{sampled(emulator, asked.calls, asked.slots)}")


def through_batchq(client: Client, calls: int) -> None:
    prompts = (f"{PROMPT} {number}" for number in range(calls))
    job = client.submit(prompts, model=MODEL, options=CONFIG, preflight=False)
    finished(client, job.id)


def as_a_chord(calls: int) -> None:
    from celery import chord, group
    from plain_celery import ask, done

    result = chord(group(ask.s(MODEL, f"{PROMPT} {number}") for number in range(calls)))(done.s())
    while not result.ready():
        time.sleep(0.05)
    result.forget()


def bare(calls: int, slots: int) -> Cost:
    line = [sys.executable, "-m", "bench.bare_loop", str(calls), str(slots), PROMPT]
    said = json.loads(subprocess.run(line, cwd=ROOT, check=True, capture_output=True).stdout)
    return Cost(calls, said["wall_s"], {"worker": said["cpu_s"]}, 0)


def sampled(emulator: dict[str, float], calls: int, slots: int) -> str:
    """A table of what the worker's processor time goes to."""
    with stage(emulator, {**UNLIMITED, "INCLUDE": ",".join((*INCLUDE, "sampler"))}) as this:
        samples = this.folder / "samples"
        this.environ["BENCH_SAMPLES"] = str(samples)
        worker = this.worker(slots, queues="batchq.control,batchq.generate")
        with this.client() as client:
            through_batchq(client, 300)  # what is loaded once is loaded now
            worker.send_signal(signal.SIGUSR2)
            through_batchq(client, calls)
        seen = json.loads(samples.read_text())
    total = sum(seen["parts"].values())
    rows = [["the worker's processor time", "with the standard library's part", "its own code"]]
    rows += [
        [part, f"{n / total:.1%}", f"{seen['own'].get(part, 0) / total:.1%}"]
        for part, n in sorted(seen["parts"].items(), key=lambda one: -one[1])
    ]
    rows += [[f"of batchq: {where}", f"{n / total:.1%}", ""] for where, n in seen["ours"]]
    return markdown(rows)
