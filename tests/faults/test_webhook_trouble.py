"""Webhooks that fail, and workers that die while they tell them: told at least once, under one id."""

from __future__ import annotations

import pytest
from webhooks.receiver import SECRET, Receiver, receiving

from faults.kit import Scene, until

pytestmark = pytest.mark.fault
HEARD = {
    "BATCHQ_WEBHOOK_SECRET": SECRET,
    "BATCHQ_WEBHOOK_LOOPBACK": "1",
    "BATCHQ_WEBHOOK_WAIT_S": "1",
    "BATCHQ_WEBHOOK_TRIES": "4",
}


@pytest.fixture
def hooked(scene: Scene) -> Scene:
    """Workers may send to this machine, and so may jobs ask for it."""
    scene.fleet.extra |= HEARD
    scene.client.walk.settings = scene.client.settings.model_copy(update={"webhook_loopback": True})
    return scene


def test_a_worker_killed_while_it_tells_the_end(hooked: Scene, pool: str) -> None:
    with receiving() as receiver:
        doomed = hooked.start_dying(pool, "told", 1)
        hooked.until_alive(1)
        job = hooked.submit(60, ms=10, webhook=receiver.url)
        hooked.death_of(doomed)
        hooked.start(pool)
        until(lambda: len(receiver.received) >= 2)
        until(lambda: not hooked.client.walk.events.waiting(job.id))
        assert {one[:2] for one in receiver.events()} == {(f"{job.id}:0", "job.completed")}
        hooked.check(job, "F6", "kill -9 when its webhook has heard of the end", extra_calls=0)


@pytest.mark.parametrize(
    ("variant", "answers", "location"),
    [
        ("answers 500", [500, 500, 500], ""),
        ("never ends its answer", ["drip"], ""),
        ("redirects to 169.254.169.254", [302, 307], "http://169.254.169.254/latest/meta-data"),
    ],
)
def test_a_webhook_that_does_not_take_an_event(
    hooked: Scene, pool: str, variant: str, answers: list[int | str], location: str
) -> None:
    with receiving() as receiver:
        receiver.answers, receiver.location = list(answers), location
        hooked.start(pool)
        hooked.until_alive(1)
        job = hooked.submit(60, ms=10, webhook=receiver.url)
        until(lambda: len(receiver.received) > len(answers))
        until(lambda: not hooked.client.walk.events.waiting(job.id))
        assert {one[0] for one in receiver.events()} == {f"{job.id}:0"}
        hooked.check(job, "F40", f"its webhook {variant}", extra_calls=0)


def test_a_webhook_that_never_takes_it_is_given_up(hooked: Scene, pool: str) -> None:
    receiver: Receiver
    with receiving() as receiver:
        receiver.answers = [500] * 50
        hooked.start(pool)
        hooked.until_alive(1)
        job = hooked.submit(60, ms=10, webhook=receiver.url)
        until(lambda: any(one.change.startswith("webhook not told") for one in job.status().history), 110)
        assert len(receiver.received) == 4, "no more often than the setting says"
        hooked.check(job, "F40", "its webhook answers 500 for good", extra_calls=0)
