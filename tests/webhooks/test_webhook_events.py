"""Which events a job has, and how they get to its webhook."""

from __future__ import annotations

import pytest
from fleet_kit import Fleet, eventually
from receiver import SECRET, Receiver

from batchq import Client, InputError
from batchq.embedded import EmbeddedServer
from batchq.flow.heal import sweep
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.wiring import Place, build_walk

FIRST = {"webhook_secret": SECRET, "webhook_loopback": True, "webhook_wait_s": 5.0, "webhook_tries": 3}


@pytest.fixture
def told(server: EmbeddedServer, client: Client) -> Client:
    """A client of the fleet's, with a webhook's settings."""
    settings = client.settings.model_copy(update=Settings(**FIRST).model_dump(include=set(FIRST)))
    return Client(place=Place(settings, embedded=True))


def test_a_pause_and_the_end_are_told_and_tried_again_under_the_same_id(
    fleet: Fleet, told: Client, receiver: Receiver
) -> None:
    fleet.extra = {
        "BATCHQ_WEBHOOK_SECRET": SECRET,
        "BATCHQ_WEBHOOK_LOOPBACK": "1",
        "BATCHQ_WEBHOOK_WAIT_S": "0.5",
    }
    receiver.answers = [500, 302]
    job = told.submit(
        [{"id": "a", "input": {"n": 1}}], operation="work", webhook=receiver.url, metadata={"k": 1}
    )
    job.pause("looking")
    job.pause("looking again")  # changes nothing, so it is no event
    fleet.start("gevent", 4)
    eventually(lambda: len(receiver.received) >= 3)
    receiver.answers = [500]  # the end is tried again too, though the job needs nothing more
    job.resume()
    assert job.wait(30).succeeded == 1
    eventually(lambda: len(receiver.received) >= 5)
    eventually(lambda: not told.walk.events.waiting(job.id))
    events = receiver.events()
    assert [one[:2] for one in events] == [
        *[(f"{job.id}:0-p1", "job.paused")] * 3,
        *[(f"{job.id}:0", "job.completed")] * 2,
    ]
    record = events[-1][2]
    assert (record["id"], record["state"], record["succeeded"], record["metadata"]) == (
        job.id,
        "completed",
        1,
        {"k": 1},
    )
    logs = fleet.logs()
    assert SECRET not in logs
    assert "/told" not in logs


def test_a_cancelled_job_leaves_the_agenda_once_its_webhook_knows(told: Client, receiver: Receiver) -> None:
    walk = told.walk
    job = told.submit([{"id": "a", "input": {"n": 1}}], operation="work", webhook=receiver.url)
    job.cancel()
    assert [one.number for one in walk.events.waiting(job.id)] == ["0"]
    assert sweep(walk)
    eventually(lambda: not walk.events.waiting(job.id))
    walk.jobs.wake(job.id)
    assert sweep(walk)
    assert walk.jobs.due(10) == []
    assert [one[:2] for one in receiver.events()] == [(f"{job.id}:0", "job.cancelled")]


def test_what_is_never_taken_is_given_up_with_a_line_in_the_history(told: Client, receiver: Receiver) -> None:
    receiver.answers = [500] * 9
    walk = told.walk
    job = told.submit([{"id": "a", "input": {"n": 1}}], operation="work", webhook=receiver.url)
    job.pause()
    database: Database = walk.jobs._db
    for tries in range(1, 4):
        assert sweep(walk)
        eventually(lambda tries=tries: len(receiver.received) == tries)  # type: ignore[misc]
        [event] = walk.events.waiting(job.id) or [None]
        if event is not None:
            assert event.tries == tries
            database.now_ms = event.due_ms
            walk.fleet.unlock(walk.incarnation)
    eventually(lambda: not walk.events.waiting(job.id))
    eventually(lambda: any(change.change == "webhook not told: paused" for change in job.status().history))
    assert "HTTP 500" in job.status().history[-1].why


def test_without_a_webhook_nothing_is_kept(told: Client) -> None:
    job = told.submit([{"id": "a", "input": {"n": 1}}], operation="work")
    job.pause()
    job.cancel()
    assert told.walk.events.waiting(job.id) == []


def test_workers_without_a_secret_send_nothing_and_keep_the_event(
    told: Client, receiver: Receiver, server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    job = told.submit([{"id": "a", "input": {"n": 1}}], operation="work", webhook=receiver.url)
    job.pause()
    walk = build_walk(Settings(redis_url=server.url, webhook_loopback=True), slots=1)
    assert sweep(walk)
    eventually(lambda: "BATCHQ_WEBHOOK_SECRET" in caplog.text)
    assert [event.tries for event in walk.events.waiting(job.id)] == [1]
    assert receiver.received == []


def test_a_submission_with_an_address_inside_stores_nothing(client: Client) -> None:
    with pytest.raises(InputError, match="no public address"):
        client.submit(["a"], webhook="https://169.254.169.254/latest/meta-data")
    assert list(client.list()) == []


def test_a_failed_job_is_told_of(fleet: Fleet, told: Client, receiver: Receiver) -> None:
    fleet.extra = {"BATCHQ_WEBHOOK_SECRET": SECRET, "BATCHQ_WEBHOOK_LOOPBACK": "1"}
    fleet.start("gevent", 4)
    rows = [
        {"id": "fine", "input": {"n": 1}},
        {"id": "bad", "input": {"n": 2, "fail": 9, "error": "refused"}},
    ]
    job = told.submit(rows, operation="work", all_or_nothing=True, webhook=receiver.url)
    assert job.wait(30).state == "failed"
    eventually(lambda: receiver.received)
    [(event_id, kind, record)] = receiver.events()
    assert (event_id, kind, record["state"]) == (f"{job.id}:0", "job.failed", "failed")
