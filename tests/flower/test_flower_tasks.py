"""What Flower's own pages show of us: the tasks of whole jobs, never items, never what they carry; and the fleet."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from celery import Celery
from flower_world import SECRET, WORKER, World, eventually, start_worker

from batchq import Item
from batchq.cli import main
from batchq.core.redis_url import parse
from batchq.dispatch import make_app
from batchq.settings import Settings


def tasks(world: World) -> list[dict[str, Any]]:
    answer = world.guarded.get("/api/tasks?limit=1000")
    assert answer.status == 200
    return list(answer.json().values())


def named(replies: list[dict[str, Any]]) -> set[str]:
    """Who answered a ping."""
    return {name for reply in replies for name in reply}


def plain_app(world: World) -> Celery:
    return make_app(Settings(redis_url=world.url))


def test_the_tasks_page_shows_waves_and_dispatches_and_no_item(world: World) -> None:
    def waves() -> list[dict[str, Any]]:
        return [
            one
            for one in tasks(world)
            if one["name"] == "batchq.complete_wave" and world.jobs.mixed in one["kwargs"]
        ]

    eventually(lambda: [one for one in waves() if one["state"] == "SUCCESS"])
    assert {one["name"] for one in tasks(world)} <= {
        "batchq.submit",
        "batchq.dispatch",
        "batchq.complete_wave",
    }
    for one in waves():
        assert ast.literal_eval(one["kwargs"]) == {"job_id": world.jobs.mixed}
    counts = [dict(part.split("=") for part in one["args"].split(", ")) for one in waves()]
    assert {int(count["wave"]) for count in counts} == set(range(1, len(counts) + 1))
    assert sum(int(count["items"]) for count in counts) == 34


def test_a_submission_is_shown_by_its_job_and_its_count_and_a_refused_one_by_its_kind_of_error(
    world: World,
) -> None:
    app = plain_app(world)
    items = [{"id": f"a{number}", "prompt": SECRET} for number in range(3)]
    queue, shape = "batchq.control", {"operation": "chore", "model": SECRET}
    twice = [{"id": SECRET, "prompt": SECRET}] * 2

    def send(**kwargs: Any) -> str:
        # what a message says of itself is its sender's word
        said = {"argsrepr": f"({SECRET!r},)", "kwargsrepr": repr({"prompt": SECRET}), "ignore_result": True}
        return str(app.send_task("batchq.submit", kwargs={**kwargs, **shape}, queue=queue, **said).id)

    good, bad = send(items=items, job_id="sent"), send(items=twice, job_id="twice")

    def ended(uuid: str) -> dict[str, Any] | None:
        found = (one for one in tasks(world) if one["uuid"] == uuid)
        return next((one for one in found if one["state"] in ("SUCCESS", "FAILURE")), None)

    submitted, refused = eventually(lambda: ended(good)), eventually(lambda: ended(bad))
    assert (submitted["state"], submitted["args"], submitted["kwargs"]) == (
        "SUCCESS",
        "items=3",
        "{'job_id': 'sent'}",
    )
    assert (refused["state"], refused["exception"], refused["args"]) == ("FAILURE", "InputError", "items=2")
    for uuid in (good, bad):
        assert SECRET not in world.guarded.get(f"/task/{uuid}").text
    app.close()


def test_the_workers_page_lists_the_fleet(world: World) -> None:
    workers = world.guarded.get("/workers?json=1").json()["data"]
    assert [(one["hostname"], one["status"]) for one in workers] == [(WORKER, True)]
    page = world.guarded.get("/worker/" + quote(WORKER))
    assert page.status == 200
    assert "batchq.generate" in page.text, "the queues it consumes"


def test_the_command_line_shows_the_same_fleet_and_what_it_is_at(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCHQ_REDIS_URL", world.url)

    def workers() -> list[dict[str, Any]]:
        assert main(["workers", "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    (shown,) = workers()
    (listed,) = world.guarded.get("/workers?json=1").json()["data"]
    assert (shown["name"], shown["pids"]) == (listed["hostname"], [listed["pid"]])
    page = world.guarded.get("/worker/" + quote(WORKER)).text
    assert all(queue in page for queue in shown["queues"])
    assert (shown["slots"], shown["running"]) == (20, 0)
    job = world.client.submit([Item(f"i{n}", {"ms": 20_000}) for n in range(3)], operation="chore")
    eventually(lambda: workers()[0]["running"] == 3)
    job.cancel()


def test_inspecting_a_worker_tells_no_arguments(world: World) -> None:
    """Flower shows what a worker has reserved; the whole payload would be in it."""
    app = plain_app(world)
    # kept by the worker until its time, so that there is something to inspect
    sent = app.send_task(
        "batchq.submit",
        kwargs={"job_id": "later", "items": [{"prompt": SECRET}], "operation": "chore"},
        queue="batchq.control",
        countdown=30,
        ignore_result=True,
    )
    inspect = app.control.inspect([WORKER], timeout=2)

    def scheduled() -> list[Any]:
        replies = inspect.scheduled() or {}
        return [one for one in replies.get(WORKER, ()) if one["request"]["id"] == sent.id]

    found = repr(eventually(scheduled))
    assert "later" in found
    assert SECRET not in found
    app.control.revoke(sent.id)
    app.close()


def test_other_apps_on_the_same_server_neither_see_the_fleet_nor_reach_it(
    world: World, tmp_path: Path
) -> None:
    """Celery's channels for events and remote control are those of the namespace; another one has its own fleet."""
    other = make_app(Settings(redis_url=world.url, namespace="acme"))
    ours, foreign = plain_app(world), Celery(broker=parse(world.url).broker_url())

    def heard(event: dict[str, Any]) -> None:
        receiver.should_stop = event["hostname"] == "neighbour@here"

    neighbour = start_worker(world.url, tmp_path / "log", "neighbour@here", {"BATCHQ_NAMESPACE": "acme"})
    try:
        with other.connection_for_read() as connection:
            receiver = other.events.Receiver(connection, {"*": heard})
            receiver.capture(timeout=30)
        # what is on the channel of this Flower's comes in order: a later event has come, so the neighbour's never will
        job = world.client.submit(["x"], operation="chore")
        eventually(lambda: any(job.id in one["kwargs"] for one in tasks(world)))
        assert {one["hostname"] for one in world.guarded.get("/workers?json=1").json()["data"]} == {WORKER}

        eventually(lambda: named(other.control.ping(timeout=0.5)) == {"neighbour@here"})
        eventually(lambda: named(ours.control.ping(timeout=0.5)) == {WORKER})
        assert foreign.control.ping(timeout=0.5) == []
        foreign.control.shutdown()
        eventually(lambda: named(ours.control.ping(timeout=0.5)) == {WORKER})
    finally:
        neighbour.kill()
        for app in (other, ours, foreign):
            app.close()
