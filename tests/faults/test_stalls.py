"""Workers that stand still, compute for too long, or have a wrong clock."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from batchq import Item
from faults.kit import Scene, family, until


@pytest.mark.fault
def test_a_worker_that_stood_still_for_longer_than_its_lease_settles_nothing_that_is_anothers(
    scene: Scene, pool: str
) -> None:
    """The others are through with its items by the time it wakes."""
    zombie = scene.start(pool)
    scene.start(pool)
    scene.until_alive(2)
    job = scene.submit(300)
    scene.until_calls(scene.moment(300))
    crash = scene.freeze(zombie)
    job.wait(100)
    os.killpg(zombie.pid, signal.SIGCONT)
    until(lambda: set(family(zombie)) & {beat.pid for beat in scene.client.fleet()})
    before = job.status()
    other = scene.submit(40, ms=5, first=300)
    other.wait(60)
    scene.check(job, "F13", "SIGSTOP beyond the lease, SIGCONT after the job")
    after = job.status()
    assert (after.succeeded, after.requests) == (before.succeeded, before.requests)
    assert crash.recovery_s is not None


@pytest.mark.fault
def test_a_worker_that_wakes_in_the_midst_of_a_job_works_on(scene: Scene, pool: str) -> None:
    zombie = scene.start(pool)
    scene.start(pool)
    scene.until_alive(2)
    job = scene.submit(600)
    scene.until_calls(scene.moment(300))
    scene.recovered(scene.freeze(zombie))
    os.killpg(zombie.pid, signal.SIGCONT)
    scene.check(job, "F13", "SIGSTOP beyond the lease, SIGCONT during the job")
    assert zombie.poll() is None


@pytest.mark.fault
@pytest.mark.parametrize(
    ("lease_s", "variant", "taken_over"),
    [("9", "a third of the lease", False), ("2", "longer than the lease", True)],
)
def test_code_that_lets_nobody_else_run(scene: Scene, lease_s: str, variant: str, taken_over: bool) -> None:
    """One greenlet computes, and neither heartbeat nor calls of its process go on meanwhile."""
    scene.fleet.extra["BATCHQ_LEASE_S"] = lease_s
    scene.start("gevent", slots=10)
    scene.start("gevent", slots=10)
    scene.until_alive(2)
    hogs = set(scene.dice.sample(range(200), 2))
    rows = [Item(f"i{n}", {"n": n, "ms": 50, **({"hog_s": 3.5} if n in hogs else {})}) for n in range(200)]
    job = scene.submit_rows(rows, {row.id: {"answer": row.input["n"]} for row in rows})
    figures = scene.check(
        job, "F14", f"code computes for {variant}", extra_calls=20 * len(hogs) if taken_over else 0
    )
    assert taken_over or figures.repeated == 0


@pytest.mark.fault
@pytest.mark.parametrize("shift_s", ["3600", "-3600"])
def test_the_clock_of_a_worker_is_an_hour_off(scene: Scene, pool: str, shift_s: str) -> None:
    """Leases, heartbeats and due times are the server's: nobody takes over early, nothing waits an hour."""
    scene.start(pool, FAULT_CLOCK_S=shift_s)
    scene.start(pool)
    scene.until_alive(2)
    rows = [
        Item(f"i{n}", {"n": n, "ms": 20, **({"fail": 1, "error": "passing"} if n % 10 == 0 else {})})
        for n in range(300)
    ]
    job = scene.submit_rows(rows, {row.id: {"answer": row.input["n"]} for row in rows})
    scene.check(job, "F35", "a worker's clock is an hour off, another's is right", extra_calls=0)
    pids = Counter(words[2] for words in scene.fleet.lines() if words[0] == "call")
    assert len(pids) >= 2, "both worked"


@pytest.mark.fault
def test_a_worker_with_a_wrong_clock_dies(scene: Scene, pool: str) -> None:
    doomed = scene.start(pool, FAULT_CLOCK_S="3600")
    scene.start(pool, FAULT_CLOCK_S="-3600")
    scene.until_alive(2)
    job = scene.submit(300)
    scene.until_calls(scene.moment(300))
    scene.kill(doomed)
    scene.check(job, "F35", "clocks two hours apart, one of the workers is killed")
