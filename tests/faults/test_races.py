"""Commands that meet a job's end, and limiters whose holder dies."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest

from batchq import Item
from batchq.core.lifecycle import ENDED, ItemState, JobState
from batchq.errors import Conflict
from faults.kit import MODEL, Scene, until

ROUNDS = 6


def almost(scene: Scene, of: int) -> int:
    """A moment near the end."""
    return scene.dice.randint(of - 10, of)


@pytest.mark.fault
def test_a_cancel_that_meets_the_end(scene: Scene, pool: str) -> None:
    """One terminal state, whichever came first, and the counts agree with it."""
    scene.start(pool)
    scene.until_alive(1)
    calls = 0
    for turn in range(ROUNDS):
        job = scene.submit(50, ms=5, first=100 * turn)
        scene.until_calls(calls + almost(scene, 50))
        with suppress(Conflict):
            job.cancel()
        record = job.wait(100)
        seen = job.status()
        assert record.state in (JobState.CANCELLED, JobState.COMPLETED)
        scene.check(job, "F37", "cancel meets the end", extra_calls=0)
        assert job.status().state is seen.state
        calls = sum(scene.calls().values())


@pytest.mark.fault
def test_pauses_that_meet_the_end(scene: Scene, pool: str) -> None:
    scene.start(pool)
    scene.until_alive(1)
    calls = 0
    for turn in range(ROUNDS):
        job = scene.submit(50, ms=5, first=100 * turn)
        scene.until_calls(calls + almost(scene, 50))
        with suppress(Conflict):
            job.pause()
        until(lambda job=job: job.status().processing == 0)
        if job.status().state not in ENDED:
            with suppress(Conflict):
                job.resume()
        scene.check(job, "F37", "pause and resume meet the end", extra_calls=0)
        assert job.status().succeeded == 50
        calls = sum(scene.calls().values())


@pytest.mark.fault
def test_pauses_and_resumes_in_quick_succession(scene: Scene, pool: str) -> None:
    scene.start(pool)
    scene.start(pool)
    scene.until_alive(2)
    job = scene.submit(300)
    while job.status().state not in ENDED:
        with suppress(Conflict):
            job.pause()
            job.resume()
    scene.check(job, "F37", "pause and resume again and again", extra_calls=0)
    assert job.status().succeeded == 300


@pytest.mark.fault
def test_a_redrive_that_meets_the_end(scene: Scene, pool: str) -> None:
    """It runs the failed items alone; the job may end once more for it."""
    scene.start(pool)
    scene.until_alive(1)
    rows = [
        Item(f"i{n}", {"n": n, "ms": 2, **({"fail": 1, "error": "refused"} if n % 10 == 0 else {})})
        for n in range(300)
    ]
    job = scene.submit_rows(rows, {row.id: {"answer": row.input["n"]} for row in rows})
    sent = 0
    while sent < 30:  # some while the job runs, some at its end, some after it
        sent += scene.client.redrive(job.id)
    job.wait(100)
    record = job.status()
    ends = sum(one.change == "completed" for one in record.history)
    assert 1 <= ends <= 31
    # a redriven item settles twice, by intent; each was called once before and once after
    scene.check(job, "F37", "redrive meets the end", extra_calls=0, ends=ends, redone=30)
    calls = scene.calls()
    assert Counter(calls.values()) == {1: 270, 2: 30}
    assert all(calls[f"i{n}"] == 2 for n in range(0, 300, 10))
    assert {result.status for result in job.results()} == {ItemState.SUCCEEDED}


@pytest.mark.fault
def test_the_holder_of_all_calls_in_flight_dies(scene: Scene, pool: str) -> None:
    """Its places in the quota are free when its lease ends; the limit is never passed by more than its calls."""
    emulator = scene.use_gemini(latency_s=0.5)
    scene.fleet.extra["BATCHQ_QUOTAS"] = scene.quota(requests_per_minute=60_000, concurrency=4)
    doomed = scene.start(pool)
    scene.until_alive(1)
    job = scene.ask(100)
    scene.until_calls(scene.dice.randint(4, 30))
    crash = scene.kill(doomed)
    scene.start(pool)
    scene.check(job, "F36", "kill -9 of the holder of all calls in flight")
    assert emulator.stats()["peak_in_flight"] <= 4 + crash.in_flight
    assert scene.client.quotas.get(MODEL).in_flight == 0


@pytest.mark.fault
def test_the_holder_of_permits_dies(scene: Scene, pool: str) -> None:
    """What it drew and did not use is lost, no more; the rate is kept."""
    emulator = scene.use_gemini()
    scene.fleet.extra["BATCHQ_QUOTAS"] = scene.quota(requests_per_minute=1_200)
    doomed = scene.start(pool)
    scene.start(pool)
    scene.until_alive(2)
    job = scene.ask(300)
    scene.until_calls(scene.moment(300))
    scene.kill(doomed)
    scene.check(job, "F36", "kill -9 of a holder of permits")
    times = emulator.admissions()
    assert max(sum(1 for at in times if first <= at < first + 1) for first in times) <= 32, "20 a second"
