"""Submitters that die, or meet: a job is accepted whole or not at all, once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fleet_kit import OPERATIONS

from batchq import Client, Item
from batchq.errors import Conflict
from batchq.store.keys import SCHEMA
from batchq.wiring import Place
from faults.kit import SECRET, Scene, until

ITEMS = 1_000
KEY = "nightly"


def rows(n: int = ITEMS) -> list[Item]:
    return [Item(f"i{number}", {"n": number, "ms": 1, "note": SECRET}) for number in range(n)]


def answers(items: list[Item]) -> dict[str, object]:
    return {item.id: {"answer": item.input["n"]} for item in items}


def submit_until(scene: Scene, stop_at: int) -> str:
    """Have another process submit, and kill it there; what it said last."""
    program = Path(__file__).with_name("submitter.py")
    path = os.pathsep.join([str(OPERATIONS), str(OPERATIONS.parent)])
    environment = {**scene.fleet.environment, "PYTHONPATH": path, "BATCHQ_INCLUDE": "fleet_operations"}
    command = [sys.executable, str(program), scene.fleet.url, KEY, str(ITEMS), str(stop_at)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    said = process.stdout.readline().decode().strip()
    process.kill()
    process.wait()
    process.stdout.close()
    return said


@pytest.mark.fault
@pytest.mark.parametrize("percent", [0, 50, 99])
def test_a_submitter_killed_on_the_way(scene: Scene, pool: str, percent: int) -> None:
    """What it stored never runs; the same submission again is taken whole."""
    scene.start(pool)
    scene.until_alive(1)
    assert submit_until(scene, ITEMS * percent // 100) == "here"
    assert list(scene.client.list()) == []
    left = set(scene.database.command("KEYS", "batchq:{*"))
    assert left, "it had begun"
    until(lambda: not set(scene.database.command("KEYS", "batchq:{*")))  # swept away
    assert sum(scene.calls().values()) == 0
    job = scene.submit_rows(rows(), answers(rows()), idempotency_key=KEY)
    scene.check(job, "F12", f"submitter killed at {percent} % of its list", extra_calls=0)


@pytest.mark.fault
def test_a_submitter_killed_once_its_job_is_accepted(scene: Scene, pool: str) -> None:
    scene.start(pool)
    scene.until_alive(1)
    assert submit_until(scene, ITEMS + 1) == "sealed"
    job = scene.submit_rows(rows(), answers(rows()), idempotency_key=KEY)
    assert len(list(scene.client.list())) == 1, "the same job"
    scene.check(job, "F12", "submitter killed when its job was accepted", extra_calls=0)


@pytest.mark.fault
def test_the_same_id_with_other_content_is_refused(scene: Scene, pool: str) -> None:
    scene.start(pool)
    scene.until_alive(1)
    job = scene.submit_rows(rows(300), answers(rows(300)), job_id="fixed")
    with pytest.raises(Conflict):
        scene.client.submit(rows(299), operation="work", job_id="fixed")
    assert scene.client.submit(rows(300), operation="work", job_id="fixed").id == job.id
    scene.check(job, "F39", "two jobs of one id", extra_calls=0)


@pytest.mark.fault
def test_two_submitters_of_one_id_at_once(scene: Scene, pool: str) -> None:
    scene.start(pool)
    scene.until_alive(1)
    together, ended = threading.Barrier(2), []

    def submit() -> None:
        with Client(place=Place(scene.client.settings, embedded=True)) as own:
            together.wait(20)
            try:
                ended.append(own.submit(rows(300), operation="work", job_id="fixed").id)
            except Conflict:
                ended.append("busy")

    threads = [threading.Thread(target=submit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert "fixed" in ended
    assert set(ended) <= {"fixed", "busy"}
    job = scene.client.get("fixed")
    scene.accepted[job.id] = answers(rows(300))
    scene.check(job, "F39", "two submitters of one id at once", extra_calls=0)


@pytest.mark.fault
def test_a_job_of_a_newer_batchq_is_left_alone(scene: Scene, pool: str) -> None:
    """Its messages are dropped and nothing of it is rewritten, until a worker comes that understands it."""
    worker = scene.start(pool)
    scene.until_alive(1)
    job = scene.submit(300)
    scene.until_calls(scene.moment(300))
    key = scene.keys(job.id).job
    scene.database.command("HSET", key, "v", SCHEMA + 1)
    other = scene.submit(40, ms=1, first=300)
    assert other.wait(100).succeeded == 40, "older jobs go on meanwhile"
    until(lambda: not scene.database.command("LLEN", "batchq.work"))
    calls = sum(scene.calls().values())
    assert worker.poll() is None
    scene.database.command("HSET", key, "v", SCHEMA)
    scene.check(job, "F39", "a job of a newer batchq", extra_calls=scene.slots)
    assert calls < 300 + 40
