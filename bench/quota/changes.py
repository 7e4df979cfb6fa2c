"""make bench-quota ARGS="changes --rpm 600": a worker dies or comes, the quota is raised or lowered, all in a run."""

from __future__ import annotations

import argparse
import os
import signal
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from batchq import Client
from bench.quota.measure import use
from bench.stage import MODEL, Stage, stage

FULL = 0.95
WINDOW_S = 10.0


def killed(this: Stage, _client: Client, rpm: int) -> int:
    os.killpg(this.workers[0].pid, signal.SIGKILL)
    return rpm


def added(this: Stage, _client: Client, rpm: int) -> int:
    this.worker(100)
    return rpm


def doubled(this: Stage, client: Client, rpm: int) -> int:
    this.emulator("config", {"rpm": 2 * rpm})
    client.quotas.set(MODEL, requests_per_minute=2 * rpm)
    return 2 * rpm


def halved(this: Stage, client: Client, rpm: int) -> int:
    client.quotas.set(MODEL, requests_per_minute=rpm // 2)
    this.emulator("config", {"rpm": rpm // 2})
    return rpm // 2


CHANGES: dict[str, Callable[[Stage, Client, int], int]] = {
    "a worker killed": killed,
    "a worker added": added,
    "the quota doubled": doubled,
    "the quota halved": halved,
}


def back_s(times: Sequence[float], since_s: float, rpm: int) -> float | None:
    """Seconds from the change to the beginning of the first 10 s that are used to 95 %; None: never."""
    at = since_s
    while at + WINDOW_S <= times[-1]:
        if bisect_left(times, at + WINDOW_S) - bisect_left(times, at) >= FULL * rpm / 60 * WINDOW_S:
            return at - since_s
        at += 0.1
    return None


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.quota changes", description=__doc__)
    parser.add_argument("--rpm", type=int, default=600)
    parser.add_argument("--before", type=float, default=70.0, help="seconds until the change")
    parser.add_argument("--after", type=float, default=120.0, help="seconds watched after it")
    asked = parser.parse_args(arguments)
    print("| change | pause | back at 95 % after | used from then on | most in a minute since | refused |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for name, change in CHANGES.items():
        print(f"| {name} | {row(asked.rpm, asked.before, asked.after, change)} |", flush=True)


def row(rpm: int, before_s: float, after_s: float, change: Callable[[Stage, Client, int], int]) -> str:
    """Its cells. `pause` is the longest time without a call from the change on."""
    settings = {f"QUOTAS__{MODEL}__REQUESTS_PER_MINUTE": rpm}
    with stage({"rpm": rpm, "latency": 0.2}, settings) as this:
        for _ in range(2):
            this.worker(100)
        with this.client() as client:
            items = int(2 * rpm * (before_s + after_s) / 60) + rpm
            job = client.submit((f"Question {n}" for n in range(items)), preflight=False)
            while not this.emulator("stats")["requests"]:
                time.sleep(0.1)
            time.sleep(before_s)
            since_s = this.emulator("stats")["uptime_s"]
            now_rpm = change(this, client, rpm)
            time.sleep(after_s)
            stats, times = this.emulator("stats"), this.emulator("admissions")
            job.cancel()
    later = times[bisect_left(times, since_s) :]
    back = back_s(times, since_s, now_rpm)
    pause = max((after - one for one, after in zip([since_s, *later], later, strict=False)), default=after_s)
    seen = use(later, now_rpm, start_s=0.0 if back is None else max(0.0, since_s + back - later[0]))
    when = "never" if back is None else f"{back:.1f} s"
    return f"{pause:.1f} s | {when} | {seen.share:.1%} | {seen.most} of {now_rpm} | {stats['rate_limited']}"
