"""Messages doubled, reordered, lost or late: they are hints, and the store refuses what is out of date."""

from __future__ import annotations

import random

import pytest

from batchq.dispatch import COMPLETE_WAVE, make_app
from faults.kit import SHORT_AND_LONG, Scene, until

QUEUES = ("batchq.work", "batchq.control")


def quiet(scene: Scene) -> bool:
    return not any(scene.database.command("LLEN", queue) for queue in QUEUES)


@SHORT_AND_LONG
def test_messages_doubled_while_their_items_run(scene: Scene, pool: str, n: int) -> None:
    """There are slots that take the second message at once, while the first one's item is under way."""
    scene.start(pool, slots=20 if pool == "gevent" else 4)
    scene.until_alive(1)
    job = scene.submit(n, ms=200 if n == 60 else 80, concurrency=8 if pool == "gevent" else 2)
    for part in range(1, 4):
        scene.until_calls(part * n // 4)
        scene.double(job)
    scene.check(job, "F25", "messages doubled while their items run", extra_calls=0)


@pytest.mark.fault
def test_messages_doubled_before_their_items_run(scene: Scene, pool: str) -> None:
    scene.pool = pool
    job = scene.submit(300)
    scene.send_again(job, range(300))
    scene.start(pool)
    scene.check(job, "F25", "messages doubled before their items run", extra_calls=0)


@pytest.mark.fault
def test_messages_that_come_again_after_their_job_ended(scene: Scene, pool: str) -> None:
    scene.start(pool)
    job = scene.submit(300, ms=5)
    job.wait(100)
    scene.send_again(job, range(300))
    until(lambda: quiet(scene))
    scene.check(job, "F25", "messages doubled after their items settled", extra_calls=0)


@pytest.mark.fault
def test_every_message_copied_byte_for_byte(scene: Scene, pool: str) -> None:
    scene.start(pool)
    scene.until_alive(1)
    job = scene.submit(300)

    def copy() -> bool:
        for queue in QUEUES:
            for message in scene.database.command("LRANGE", queue, 0, -1):
                scene.database.command("LPUSH", queue, message)
        return job.status().finished_at is not None

    for _ in range(10):
        copy()
    scene.check(job, "F25", "every message twice, byte for byte", extra_calls=0)


@pytest.mark.fault
def test_the_callback_of_a_wave_twice(scene: Scene, pool: str) -> None:
    scene.start(pool)
    scene.until_alive(1)
    job = scene.submit(300)
    app = make_app(scene.client.settings)

    def callbacks() -> None:
        for wave in range(1, 6):
            app.send_task(COMPLETE_WAVE, args=(job.id, wave, 300), queue="batchq.control", ignore_result=True)

    scene.until_calls(scene.moment(300))
    callbacks()
    job.wait(100)
    callbacks()
    until(lambda: quiet(scene))
    app.close_producers()
    scene.check(job, "F25", "the callback of a wave doubled", extra_calls=0)


@pytest.mark.fault
def test_messages_in_any_order(scene: Scene, pool: str) -> None:
    scene.start(pool, slots=2)
    scene.until_alive(1)
    job = scene.submit(300)
    dice = random.Random(scene.seed)
    for part in range(1, 6):
        scene.until_calls(part * 30)
        with scene.database.client.pipeline(transaction=True) as pipe:
            messages = scene.database.command("LRANGE", "batchq.work", 0, -1)
            dice.shuffle(messages)
            for message in messages:
                pipe.lrem("batchq.work", 1, message).lpush("batchq.work", message)
            pipe.execute()
    scene.check(job, "F26", "messages in any order", extra_calls=0)


@pytest.mark.fault
@pytest.mark.parametrize("end", ["finished", "deleted"])
def test_messages_that_come_long_after_their_job(scene: Scene, pool: str, end: str) -> None:
    worker = scene.start(pool)
    scene.until_alive(1)
    job = scene.submit(300, ms=5)
    scene.check(job, "F26", f"late messages of a {end} job", extra_calls=0)
    if end == "deleted":
        scene.client.delete(job.id)
    before = scene.calls()
    scene.send_again(job, range(300))
    until(lambda: quiet(scene))
    other = scene.submit(20, ms=1, first=300)
    assert other.wait(60).succeeded == 20, "the worker lives and works"
    assert worker.poll() is None
    assert {id: n for id, n in scene.calls().items() if id in before} == dict(before)
    if end == "deleted":
        left = scene.database.command("KEYS", f"*{job.id}*")
        assert left == [], "a late message brings nothing of a deleted job back"


@pytest.mark.fault
@pytest.mark.parametrize("queue", QUEUES)
def test_lost_messages(scene: Scene, pool: str, queue: str) -> None:
    scene.start(pool, slots=2)
    scene.until_alive(1)
    job = scene.submit(300, ms=20)
    for part in range(1, 4):
        scene.until_calls(part * 60)
        scene.database.command("DEL", queue)
    scene.check(job, "F7", f"messages lost from {queue}", extra_calls=0)
