"""Workers die, messages are lost and doubled, the server restarts: nothing is lost and nothing settles twice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from fleet_kit import Fleet, eventually
from test_fleet_walk import items

from batchq import Client, Item, embedded
from batchq.emulator import Emulator
from batchq.flow.submission import Submission
from batchq.formats import InputSpec, read
from batchq.store.database import Database
from batchq.wiring import Place

LONE = 8  # jobs of one item


def test_a_lost_dispatch_message_is_made_up_for_by_the_sweeper(
    fleet: Fleet, client: Client, database: Database
) -> None:
    job = client.submit(items(10), operation="work")
    database.command("DEL", "batchq.control")
    fleet.start()
    assert job.wait(60).succeeded == 10


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_a_worker_told_to_end_waits_for_its_calls_for_the_grace_and_charges_no_attempt(
    fleet: Fleet, client: Client, pool: str
) -> None:
    fleet.extra["BATCHQ_GRACE_S"] = "0.5"
    leaving = fleet.start(pool, 3)
    job = client.submit([Item(f"i{n}", {"n": n}) for n in range(3)], operation="held")
    eventually(lambda: len(fleet.calls()) == 3)
    leaving.send_signal(signal.SIGTERM)
    assert leaving.wait(20) == 0
    assert (job.status().processing, job.status().pending) == (0, 3)
    (fleet.folder / "go").touch()
    fleet.start("gevent", 3)
    record = job.wait(60)
    assert (record.succeeded, record.repeated, record.retries) == (3, 0, 0)
    assert {result.attempts for result in job.results()} == {1}


@pytest.mark.parametrize(("pool", "slots"), [("gevent", 2), ("threads", 2), ("prefork", 1)])
def test_an_operation_of_the_users_own_ends_at_its_deadline(
    fleet: Fleet, client: Client, pool: str, slots: int
) -> None:
    fleet.extra |= {"BATCHQ_OPERATIONS__HELD__TIMEOUT_S": "0.5", "BATCHQ_OPERATIONS__HELD__MAX_ATTEMPTS": "1"}
    fleet.start(pool, slots)
    rows = [Item(f"i{n}", {"n": n}, operation="held" if n % 2 else "work") for n in range(4)]
    job = client.submit(rows, operation="work")
    record = job.wait(60)
    assert (record.succeeded, record.dead_letter, record.errors) == (2, 2, {"TIMEOUT": 2})


@pytest.mark.fault
@pytest.mark.parametrize(("pool", "slots"), [("gevent", 5), ("threads", 5), ("prefork", 2)])
def test_workers_wait_for_the_server_and_go_on(
    fleet: Fleet, client: Client, tmp_path: Path, request: pytest.FixtureRequest, pool: str, slots: int
) -> None:
    folder = tmp_path / "own-server"
    own = embedded.start(folder)
    request.addfinalizer(lambda: embedded.stop(folder))
    fleet.url = own.url
    place = Place(client.settings.model_copy(update={"redis_url": own.url}), embedded=True)
    with Client(place=place) as other:
        worker = fleet.start(pool, slots)
        job = other.submit(items(40, ms=300), operation="work", concurrency=slots, rpm=6_000)
        eventually(lambda: len(fleet.calls()) >= slots)
        os.kill(own.pid, signal.SIGKILL)  # with calls under way and messages taken
        time.sleep(2.5)  # the outage itself
        embedded.start(folder)
        record = job.wait(90)
        assert worker.poll() is None, "it lived through"
        assert record.succeeded == 40
        assert max(fleet.calls().values()) <= 2
        # a worker that stands still while it waits for the broker would show in what its calls took
        assert max(result.duration_ms for result in job.results()) < 1_500
        assert "Traceback" not in fleet.logs(), "an outage is told in plain words"


def test_a_worker_that_may_not_read_a_file_leaves_it_to_one_that_may(
    fleet: Fleet, client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02}.txt").write_text(f"text {number}")
    fleet.start("gevent", 4)
    fleet.extra["BATCHQ_FILE_ROOTS"] = str(folder)
    fleet.start("gevent", 4)
    eventually(lambda: len(client.fleet()) == 2)
    job = client.submit(read(InputSpec(str(folder))), operation="work", files="path")
    record = job.wait(60)
    assert (record.succeeded, record.failed) == (30, 0), record.errors


def test_a_pinned_job_goes_to_the_workers_of_its_project_alone(
    fleet: Fleet, client: Client, database: Database
) -> None:
    pinned = Submission(project="real")
    with Emulator() as made_up, Emulator() as real:
        for project, emulator in (("made-up", made_up), ("real", real)):
            fleet.extra |= {"BATCHQ_PROJECT": project, "GOOGLE_GEMINI_BASE_URL": emulator.url}
            fleet.start("gevent", 5)
        eventually(lambda: {beat.project for beat in client.fleet()} == {"made-up", "real"}, 90)
        many = client.accept(pinned, [Item(f"i{n}", {"prompt": f"p{n}"}) for n in range(30)], preflight=False)
        assert client.wait(many.job_id, 120).succeeded == 30
        sent = 0
        for n in range(LONE):  # each to two workers that have nothing else to do
            one = client.accept(pinned, [Item(f"lone{n}", {"prompt": f"lone {n}"})], preflight=False)
            assert client.wait(one.job_id, 60).succeeded == 1
            sent += int(database.command("HGET", database.job_keys(one.job_id).job, "ticket"))
        assert sent <= 4 * LONE, (
            "what one worker cannot serve goes to the next, not to itself again and again"
        )
        assert (made_up.stats()["requests"], real.stats()["answered"]) == (0, 30 + LONE)
