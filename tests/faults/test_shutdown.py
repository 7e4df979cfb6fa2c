"""Workers told to end, politely or not: what they hold goes on elsewhere, and what only waits costs no call."""

from __future__ import annotations

import signal
import subprocess

import pytest

from batchq import Item
from faults.kit import SHORT_AND_LONG, Scene, family


def told_to_end(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 0


@SHORT_AND_LONG
def test_told_to_end_with_calls_under_way(scene: Scene, pool: str, n: int) -> None:
    leaving = scene.start(pool)
    scene.until_alive(1)
    job = scene.submit(n)
    scene.until_calls(scene.moment(n))
    told_to_end(leaving)
    assert scene.leased(job) == 0
    scene.start(pool)
    scene.check(job, "F32", "SIGTERM with calls under way", extra_calls=0)
    assert {result.attempts for result in job.results()} == {1}


@pytest.mark.fault
def test_told_to_end_while_items_wait_for_permits(scene: Scene, pool: str) -> None:
    scene.use_gemini()
    scene.fleet.extra["BATCHQ_QUOTAS"] = scene.quota(requests_per_minute=600)
    leaving = scene.start(pool)
    scene.until_alive(1)
    job = scene.ask(150)
    scene.until_calls(10)
    told_to_end(leaving)
    assert scene.leased(job) == 0
    scene.start(pool)
    scene.check(job, "F32", "SIGTERM while items wait for permits", extra_calls=0)
    assert scene.emulator is not None
    assert scene.emulator.stats()["requests"] == 150


@pytest.mark.fault
def test_told_to_end_while_items_wait_for_their_retry(scene: Scene, pool: str) -> None:
    leaving = scene.start(pool)
    scene.until_alive(1)
    rows = [Item(f"i{n}", {"n": n, "fail": 2, "error": "passing"}) for n in range(60)]
    job = scene.submit_rows(rows, {row.id: {"answer": row.input["n"]} for row in rows})
    scene.until_calls(40)
    told_to_end(leaving)
    assert scene.leased(job) == 0
    scene.start(pool)
    scene.check(job, "F32", "SIGTERM while items wait for their retry", extra_calls=0)
    assert set(scene.calls().values()) == {3}


@pytest.mark.fault
@pytest.mark.parametrize(
    ("signals", "variant", "environment"),
    [
        ((signal.SIGTERM, signal.SIGKILL), "SIGTERM, then SIGKILL", {}),
        ((signal.SIGINT, signal.SIGINT), "SIGINT twice", {}),
        ((signal.SIGQUIT,), "SIGQUIT", {}),
        ((signal.SIGTERM,), "SIGTERM as SIGQUIT (REMAP_SIGTERM)", {"REMAP_SIGTERM": "SIGQUIT"}),
    ],
    ids=["term-kill", "int-int", "quit", "remap"],
)
def test_told_to_end_at_once(
    scene: Scene,
    pool: str,
    signals: tuple[signal.Signals, ...],
    variant: str,
    environment: dict[str, str],
) -> None:
    leaving = scene.start(pool, **environment)
    scene.until_alive(1)
    job = scene.submit(300)
    scene.until_calls(scene.moment(300))
    pids = family(leaving)
    for one in signals:
        leaving.send_signal(one)
    leaving.wait(120)
    scene.gone(pids)
    scene.start(pool)
    scene.check(job, "F33", variant, extra_calls=2 * scene.slots)


@pytest.mark.fault
def test_a_fleet_restarted_one_by_one(scene: Scene, pool: str) -> None:
    """A rolling restart costs no item an attempt, and never stops the job for long."""
    fleet = [scene.start(pool), scene.start(pool)]
    scene.until_alive(2)
    job = scene.submit(1_200, ms=60 if pool == "gevent" else 5)
    for turn in range(6):
        scene.until_calls(100 * (turn + 1))
        told_to_end(fleet[turn % 2])
        fleet[turn % 2] = scene.start(pool)
    scene.check(job, "F34", "every worker restarted three times", extra_calls=0)
    assert {result.attempts for result in job.results()} == {1}
