"""make bench-quota ARGS="runs --rpm 600 --workers 2": how much of a quota a real fleet uses, as the emulator counts.

Without arguments the runs of PLAN, one after the other: each takes a minute to fill the window and four more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.quota.measure import use
from bench.stage import MODEL, stage


@dataclass(frozen=True, slots=True)
class Run:
    rpm: int
    workers: int
    latency: float = 0.2
    sigma: float = 0.0
    mode: str = "rolling"
    slots: int = 100
    pool: str = "gevent"
    learn: bool = False
    windows: float = 4.0

    @property
    def name(self) -> str:
        learn = ", learning" if self.learn else ""
        shape = f" σ {self.sigma:g}" if self.sigma else ""
        return f"{self.rpm} RPM, {self.workers} × {self.slots} {self.pool}, {self.latency:g} s{shape}, {self.mode}{learn}"


LOGNORMAL = {"latency": 2.0, "sigma": 0.6}
PLAN = (
    Run(15, 1),
    Run(15, 2, mode="fixed"),
    Run(600, 1),
    Run(600, 2),
    Run(600, 8, slots=20),
    Run(600, 2, mode="fixed"),
    Run(600, 2, mode="bucket"),
    Run(600, 2, **LOGNORMAL),
    Run(600, 2, learn=True),
    Run(6_000, 1, slots=200),
    Run(6_000, 2, slots=200),
    Run(6_000, 8, slots=50),
    Run(6_000, 2, slots=250, mode="bucket"),
    Run(6_000, 2, slots=250, **LOGNORMAL),
    Run(6_000, 2, slots=200, learn=True),
    Run(9_000, 2, slots=200),
)


@dataclass(frozen=True, slots=True)
class Seen:
    share: float
    most: int
    refused: float
    lowest: float
    draws: float  # quota calls to Redis an item
    waited_s: float
    seconds: float


def perform(run: Run) -> Seen:
    """One run; raises nothing of its own, whatever the figures."""
    quota = f"QUOTAS__{MODEL}__REQUESTS_PER_MINUTE"
    options = {"rpm": run.rpm, "latency": run.latency, "latency_sigma": run.sigma, "mode": run.mode}
    with stage(options, {} if run.learn else {quota: run.rpm}) as this:
        for _ in range(run.workers):
            this.worker(run.slots, run.pool)
        with this.client() as client:
            while len(client.fleet()) < (run.workers * (run.slots if run.pool == "prefork" else 1)):
                time.sleep(0.2)
            items = int(run.rpm * (run.windows + 1) * 0.985)
            began = time.monotonic()
            job = client.submit(
                ((f"i{n}", f"Question {n}: what is {n} times 3?") for n in range(items)), preflight=False
            )
            record = job.wait(60 * (run.windows + 1) * 1.5 + 60)
            seconds = time.monotonic() - began
            stats = this.emulator("stats")
            times = this.emulator("admissions")
            calls = client.walk.jobs._db.command("INFO", "commandstats")
            draws = sum(value["calls"] for key, value in calls.items() if key == "cmdstat_info") - 1
            waited = [result.outcome.waited_ms for result in job.results()]
        assert record.succeeded == items, record.errors
    # all of it before the last refill: what trails off has nothing left to send
    seen = use(times, run.rpm, start_s=60.0, end_s=times[-1] - times[0] - 1.0)
    refused = stats["rate_limited"] / stats["requests"]
    mean_s = sum(waited) / len(waited) / 1000
    return Seen(seen.share, seen.most, refused, seen.lowest, draws / items, mean_s, seconds)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.quota runs", description=__doc__)
    parser.add_argument("--rpm", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--sigma", type=float, default=0.0)
    parser.add_argument("--mode", default="rolling", choices=["rolling", "fixed", "bucket"])
    parser.add_argument("--pool", default="gevent")
    parser.add_argument("--windows", type=float, default=4.0, help="minutes measured, after the first")
    parser.add_argument("--learn", action="store_true")
    asked = parser.parse_args(arguments)
    windows = asked.windows
    chosen = {key: value for key, value in vars(asked).items() if key != "windows"}
    runs = (
        [replace(run, windows=windows) for run in PLAN]
        if asked.rpm is None
        else [Run(**chosen, windows=windows)]
    )
    print(
        "| run | used | most in a minute | refused | lowest 10 s | quota calls an item | mean wait | took |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for run in runs:
        seen = perform(run)
        print(
            f"| {run.name} | {seen.share:.2%} | {seen.most} ({seen.most / run.rpm:.2%}) | {seen.refused:.3%} "
            f"| {seen.lowest:.1%} | {seen.draws:.3f} | {seen.waited_s:.2f} s | {seen.seconds:.0f} s |",
            flush=True,
        )
