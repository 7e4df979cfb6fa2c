"""kill -9 of a worker at every place of an item's walk."""

from __future__ import annotations

import pytest

from faults.kit import Scene

SHORT_AND_LONG = pytest.mark.parametrize("n", [60, pytest.param(300, marks=pytest.mark.fault)])


@SHORT_AND_LONG
def test_a_worker_killed_during_its_calls(scene: Scene, pool: str, n: int) -> None:
    victim = scene.start(pool)
    scene.until_alive(1)
    job = scene.submit(n)
    scene.until_calls(scene.moment(n))
    crash = scene.kill(victim)
    scene.start(pool)
    scene.recovered(crash)
    scene.check(job, "F3", "kill -9 during the call, another is started")


@pytest.mark.fault
def test_one_of_two_workers_killed_during_its_calls(scene: Scene, pool: str) -> None:
    victim = scene.start(pool)
    scene.start(pool)
    scene.until_alive(2)
    job = scene.submit(300)
    scene.until_calls(scene.moment(300))
    scene.recovered(scene.kill(victim))
    scene.check(job, "F3", "kill -9 during the call, another is at work")
