"""The master goes, and a replica takes its place: with all that it had, or without its last second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from bisect import bisect_left
from pathlib import Path

import pytest
from redis_kit import RedisServer
from sentinel_kit import Guarded

from batchq.client import Job
from batchq.errors import NotFound
from faults import checker
from faults.kit import MODEL, Scene, until

pytestmark = pytest.mark.fault
LIMIT = 600  # requests a minute


def working(scene: Scene, pool: str) -> Job:
    """A job on two workers, some way on."""
    scene.start(pool)
    scene.start(pool)
    scene.until_alive(2)
    job = scene.submit(300)
    scene.until_calls(scene.moment(300))
    return job


def settled(scene: Scene, job: Job) -> int:
    return sum(checker.settles(scene.fleet.logs(), job.id).values())


def lose_a_second(scene: Scene, servers: Guarded, job: Job) -> tuple[int, RedisServer]:
    """Kill the master after a second that its replica missed. Returns how many calls had no end in what is left."""
    kept = job.status().settled
    servers.cut_replication()
    began = job.status().now
    until(lambda: job.status().now > began + 1)
    old = servers.master()
    old.kill()
    return begun_at_last(scene) - kept, old


def begun_at_last(scene: Scene) -> int:
    """Calls begun, now that the server that let them begin is gone."""
    seen, since = sum(scene.calls().values()), time.monotonic()
    while time.monotonic() - since < 0.5:
        now = sum(scene.calls().values())
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.02)
    return seen


def test_a_killed_master_is_replaced_in_the_middle_of_a_job(
    guarded_scene: Scene, guarded_servers: Guarded, pool: str
) -> None:
    scene = guarded_scene
    job = working(scene, pool)
    old = guarded_servers.master()
    old.kill()
    unsure = begun_at_last(scene) - settled(scene, job)
    guarded_servers.promoted(old)
    scene.check(job, "F20", "master killed, replica up to date", extra_calls=unsure, redone=5)
    assert "Traceback" not in scene.fleet.logs()


def test_what_a_failover_forgot_is_done_again_within_seconds(
    guarded_scene: Scene, guarded_servers: Guarded, pool: str
) -> None:
    scene = guarded_scene
    job = working(scene, pool)
    unsure, old = lose_a_second(scene, guarded_servers, job)
    guarded_servers.promoted(old)
    scene.check(
        job, "F20", "master killed, its last second lost", extra_calls=unsure, redone=unsure, wait_s=60
    )
    assert "Traceback" not in scene.fleet.logs()


def test_a_master_that_hangs_is_left_for_the_new_one(
    guarded_scene: Scene, guarded_servers: Guarded, pool: str
) -> None:
    scene = guarded_scene
    job = working(scene, pool)
    old = guarded_servers.master()
    old.stall()
    unsure = begun_at_last(scene) - settled(scene, job)
    try:
        guarded_servers.promoted(old)
        scene.check(job, "F20", "master hangs, replica promoted", extra_calls=unsure, redone=5)
    finally:
        old.go_on()
    until(lambda: old.command("ROLE")[0] == b"slave")
    assert "Traceback" not in scene.fleet.logs()


def test_a_job_that_a_failover_forgot_is_submitted_again(
    guarded_scene: Scene, guarded_servers: Guarded, pool: str
) -> None:
    scene = guarded_scene
    guarded_servers.cut_replication()
    lost = scene.submit(30, idempotency_key="nightly")
    old = guarded_servers.master()
    old.kill()
    guarded_servers.promoted(old)
    with pytest.raises(NotFound, match="submitted again"):
        lost.wait(20)
    again = scene.submit(30, idempotency_key="nightly")
    assert again.id == lost.id
    scene.start(pool)
    scene.check(again, "F20", "accepted and lost, submitted again", extra_calls=0)


def test_quotas_do_not_burst_after_a_failover_that_lost_a_second(
    guarded_scene: Scene, guarded_servers: Guarded
) -> None:
    scene = guarded_scene
    gemini = scene.use_gemini(rpm=LIMIT)
    scene.fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"requests_per_minute": LIMIT}})
    scene.start("gevent")
    scene.start("gevent")
    scene.until_alive(2)
    job = scene.ask(LIMIT * 5 // 4)
    scene.until_calls(LIMIT // 10)
    _, old = lose_a_second(scene, guarded_servers, job)
    guarded_servers.promoted(old)
    until(lambda: job.status().finished_at, 110)
    times = gemini.admissions()
    most = max(bisect_left(times, first + 60) - at for at, first in enumerate(times))
    assert (gemini.stats()["rate_limited"], most <= LIMIT) == (0, True), most
    assert most > 0.95 * LIMIT, "the quota was not idle either"
    assert times[-1] - times[0] > 65, "a whole window after the failover was seen"
    redone = gemini.stats()["requests"] - len(scene.accepted[job.id])
    scene.check(job, "F20", "quota after a lost second", extra_calls=redone, redone=redone)


def test_watching_from_the_command_line_goes_on(
    guarded_scene: Scene, guarded_servers: Guarded, tmp_path: Path
) -> None:
    scene = guarded_scene
    scene.start("gevent")
    scene.until_alive(1)
    job = scene.submit(100, ms=3_000)
    watching = subprocess.Popen(
        [Path(sys.executable).with_name("batchq"), "watch", job.id],
        env={**os.environ, "BATCHQ_REDIS_URL": guarded_servers.url},
        stderr=(tmp_path / "said").open("wb"),
    )
    try:
        until(lambda: "items" in (tmp_path / "said").read_text())
        old = guarded_servers.master()
        old.kill()
        guarded_servers.promoted(old)
        assert watching.wait(60) == 0
    finally:
        watching.kill()
    said = (tmp_path / "said").read_text()
    assert "cannot be reached" in said
    assert "the job store is back" in said
