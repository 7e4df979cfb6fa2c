"""Pause, resume and cancel of a large job reach every worker at once, and leave nothing waiting in any of them."""

from __future__ import annotations

import time

import pytest

from batchq.core.lifecycle import JobState
from faults.kit import Scene, until

MANY = 20_000
REACHED_S = 2.0


def latest_call(scene: Scene) -> float:
    return max(float(words[3]) for words in scene.fleet.lines() if words[0] == "call")


@pytest.mark.fault
def test_a_large_job_is_paused_resumed_and_cancelled_on_the_whole_fleet(scene: Scene, pool: str) -> None:
    for _ in range(3):
        scene.start(pool)
    scene.until_alive(3)
    job = scene.submit(MANY, ms=20)
    scene.until_calls(200)
    job.pause()
    paused = time.time()
    until(lambda: job.status().processing == 0)  # so no message of it waits in a worker or a queue
    assert latest_call(scene) < paused + REACHED_S
    begun = sum(scene.calls().values())
    assert (job.status().state, begun < MANY) == (JobState.PAUSED, True)
    job.resume()
    until(lambda: sum(scene.calls().values()) > begun + 100)
    job.cancel()
    cancelled = time.time()
    record = job.wait(60)
    assert latest_call(scene) < cancelled + REACHED_S
    assert record.state is JobState.CANCELLED
    assert (record.pending, record.processing, record.succeeded + record.cancelled) == (0, 0, MANY)
    assert record.repeated == 0
    until(lambda: scene.database.command("LLEN", "batchq.work") == 0)
