"""Built-in operations and one's own have the same life: success, a bad item, retry, dead letter, redrive, cancel, kill.

The jobs of all operations run beside each other, so that the whole module takes as long as one of them.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_kit import OPERATIONS, SHORT, Fleet, eventually
from operation_kinds import ATTEMPTS, EMBEDDING, KINDS, MODELS

from batchq import Client
from batchq.client import Job
from batchq.core.lifecycle import ItemState, JobState
from batchq.embedded import EmbeddedServer
from batchq.emulator import Emulator, EmulatorOptions, expected_embedding
from batchq.formats import check_destination, write
from batchq.operations import registry
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.wiring import Place

GOOD = 4
WAIT_S = 180.0  # a deadline for a machine with other work
every_operation = pytest.mark.parametrize("name", KINDS)


class World:
    """A server emptied, an emulator, a client, and workers to start and kill."""

    def __init__(self, server: EmbeddedServer, folder: Path, gemini: Emulator) -> None:
        self.gemini = gemini
        quotas = {model: {"requests_per_minute": 1_000_000} for model in MODELS}
        limits = {f"BATCHQ_OPERATIONS__{name.upper()}__MAX_ATTEMPTS": str(ATTEMPTS) for name in KINDS}
        extra = {
            "GOOGLE_GEMINI_BASE_URL": gemini.url,
            "GEMINI_API_KEY": "test-key",
            "BATCHQ_PROJECT": "test",
            "BATCHQ_QUOTAS": json.dumps(quotas),
            **limits,
        }
        self.fleet = Fleet(server.url, folder, extra)
        self.fleet.calls_file.touch()
        settings = Settings(redis_url=server.url, include=("fleet_operations",), **SHORT)
        self.client = Client(place=Place(settings, embedded=True))

    def submit(self, name: str, rows: list[dict[str, Any]], **more: Any) -> Job:
        kind = KINDS[name]
        return self.client.submit(
            rows, operation=name, options=kind.options, schema=kind.schema, preflight=False, **more
        )


@pytest.fixture(scope="module")
def world(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = Database(server.url)
    database.command("FLUSHALL")
    database.close()
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch, Emulator(EmulatorOptions(directives=True)) as gemini:
        patch.setenv("FLEET_CALLS", str(folder / "calls"))
        patch.syspath_prepend(str(OPERATIONS))
        world = World(server, folder, gemini)
        with world.client:
            yield world
        world.fleet.stop()


@pytest.fixture(scope="module")
def lives(world: World) -> dict[str, Job]:
    world.fleet.start("gevent", 60)
    jobs = {}
    for name, kind in KINDS.items():
        rows = [kind.row(f"good-{number}", f"Text {number}") for number in range(GOOD)]
        rows += [
            kind.failing("once", 1),
            kind.failing("stuck", ATTEMPTS),
            {"id": "bad", "input": dict(kind.bad)},
        ]
        jobs[name] = world.submit(name, rows)
    return jobs


@every_operation
def test_from_success_to_the_redrive_of_a_dead_letter(world: World, lives: dict[str, Job], name: str) -> None:
    kind, job = KINDS[name], lives[name]
    record = job.wait(WAIT_S)
    found = {result.id: result for result in job.results()}
    for number in range(GOOD):
        assert kind.came(found[f"good-{number}"]) == kind.due(f"good-{number}", f"Text {number}")
        assert found[f"good-{number}"].attempts == 1
    assert kind.came(found["once"]) == kind.due("once", kind.failing_text("once", 1))
    assert [line.error.status for line in found["once"].outcome.history] == [kind.passing]
    assert (found["once"].attempts, found["stuck"].attempts) == (2, ATTEMPTS)
    assert found["stuck"].status is ItemState.DEAD_LETTER
    assert (found["bad"].status, found["bad"].attempts) == (ItemState.FAILED, kind.bad_attempts)
    assert (record.succeeded, record.failed, record.dead_letter) == (GOOD + 1, 1, 1)

    reasons = {letter.id: letter.reason for letter in world.client.dead_letters(job_id=job.id)}
    assert set(reasons) == {"bad", "stuck"}
    assert reasons["stuck"] == kind.passing
    assert world.client.redrive(job_id=job.id, reason=kind.passing) == 1
    record = job.wait(WAIT_S)
    assert (record.succeeded, record.failed, record.dead_letter) == (GOOD + 2, 1, 0)
    stuck = next(result for result in job.results() if result.id == "stuck")
    assert kind.came(stuck) == kind.due("stuck", kind.failing_text("stuck", ATTEMPTS))
    assert stuck.attempts == 1, "since the redrive"


def test_items_of_all_operations_share_a_job_each_on_its_own_queue(
    world: World, lives: dict[str, Job], tmp_path: Path
) -> None:
    names = [name for name in KINDS if name != "extract"]  # whose schema would be the whole job's
    rows = [
        KINDS[name].row(f"{name}-{number}", f"Mixed {number}") | {"operation": name}
        for number in range(3)
        for name in names
    ]
    job = world.client.submit(rows, operation="review", preflight=False)  # its own schema is not the others'
    record = job.wait(WAIT_S)
    assert record.succeeded == len(rows), record.errors
    found = list(job.results())
    assert [(result.id, result.operation) for result in found] == [
        (row["id"], row["operation"]) for row in rows
    ]
    for result, row in zip(found, rows, strict=True):
        kind, text = KINDS[result.operation], f"Mixed {row['id'][-1]}"
        if result.operation == "embed":  # this job asks for no other size
            assert result.data == expected_embedding(text, model=EMBEDDING)
        else:
            assert kind.came(result) == kind.due(result.id, text)
    spec = world.client.walk.spec(job.id)
    lanes = {
        lane.operation: (lane.model, world.client.settings.queue_of(lane.operation)) for lane in spec.lanes
    }
    assert lanes == {
        "generate": ("gemini-2.5-flash-lite", "batchq.generate"),
        "embed": (EMBEDDING, "batchq.embed"),
        "review": ("gemini-2.5-flash", "batchq.review"),
        "image": ("gemini-2.5-flash-image", "batchq.image"),
        "work": (None, "batchq.work"),
    }
    quotas = {call["model"] for call in world.gemini.calls()}
    assert quotas >= {model for model, _ in lanes.values() if model}, (
        "each asks its own model, under its quota"
    )
    out = tmp_path / "mixed.jsonl"
    write(job.results(), check_destination(str(out)))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["key"] for line in lines] == [row["id"] for row in rows], "one file, in input order"
    assert len(list((tmp_path / "mixed-images").iterdir())) == 3


@pytest.fixture(scope="module")
def cancelled(world: World, lives: dict[str, Job]) -> Iterator[dict[str, Job]]:
    for job in lives.values():
        job.wait(WAIT_S)
    world.gemini.configure(latency_s=1.0)
    jobs = {
        name: world.submit(name, [kind.slow(f"s-{number}") for number in range(kind.many)], concurrency=1)
        for name, kind in KINDS.items()
    }
    eventually(lambda: all(job.status().settled for job in jobs.values()), WAIT_S)
    for job in jobs.values():
        job.cancel()
    yield jobs
    world.gemini.configure(latency_s=0.0)


@every_operation
def test_a_cancelled_job_ends_with_what_was_under_way(cancelled: dict[str, Job], name: str) -> None:
    job, total = cancelled[name], KINDS[name].many
    assert job.status().state is JobState.CANCELLED
    eventually(lambda: job.status().finished_at is not None, WAIT_S)
    record = job.status()
    assert (record.pending, record.processing) == (0, 0)
    assert record.succeeded + record.cancelled == total
    assert record.succeeded >= 1
    assert record.cancelled >= 1


@pytest.fixture(scope="module")
def survivors(world: World) -> dict[str, Job]:
    """One worker is killed in the middle of calls of every operation; another goes on."""
    world.fleet.stop()
    world.gemini.configure(faults=["hang"])
    first = world.fleet.start("gevent", 60)
    jobs = {}
    for name, kind in KINDS.items():
        operation = "held" if name == "work" else name
        rows = [kind.row(f"k-{number}", f"Killed {number}") for number in range(GOOD)]
        jobs[name] = world.submit(name, [row | {"operation": operation} for row in rows])
    eventually(lambda: world.gemini.stats()["in_flight"] == 4 * GOOD + 1, WAIT_S)  # a pack is one call
    eventually(lambda: sum(item_id.startswith("k-") for item_id in world.fleet.calls()) == GOOD, WAIT_S)
    os.killpg(first.pid, signal.SIGKILL)
    world.gemini.configure(faults=[])
    world.fleet.calls_file.with_name("go").touch()
    world.fleet.start("gevent", 60)
    return jobs


@pytest.mark.fault
@every_operation
def test_what_a_killed_worker_was_at_goes_on_with_another(survivors: dict[str, Job], name: str) -> None:
    kind, job = KINDS[name], survivors[name]
    record = job.wait(WAIT_S)
    assert (record.succeeded, record.total) == (GOOD, GOOD), record.errors
    found = {result.id: kind.came(result) for result in job.results()}
    assert found == {f"k-{number}": kind.due(f"k-{number}", f"Killed {number}") for number in range(GOOD)}
    assert record.repeated == GOOD
    assert {result.attempts for result in job.results()} == {2}


def test_no_operation_is_left_out() -> None:
    assert set(registry.BUILT_IN) == set(KINDS) - {"work"}
