"""What submit, status, watch and resume say of a job that waits, and when they expect its end.

The quotas, the store and the walk are real; a heartbeat stands for the worker that consumes the queues.
"""

from __future__ import annotations

import json

import pytest
from cli_world import House, Terminal

from batchq import Client
from batchq.core import pacific
from batchq.core.limits import QuotaLimits
from batchq.core.permits import Asked
from batchq.flow.advance import advance
from batchq.store.database import Database
from batchq.store.fleet import Beat
from batchq.store.job_record import RUN_EMULATOR

MODEL = "gemini-2.5-flash-lite"
QUOTA = f"model:p:{MODEL}"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHQ_LEASE_S", "300")  # one heartbeat is enough for a test


@pytest.fixture
def client(house: House) -> Client:
    return Client(redis_url="embedded")


@pytest.fixture
def worker(client: Client) -> None:
    begin_worker(client)


def begin_worker(client: Client, *queues: str, project: str = "p") -> None:
    queues = queues or ("control", "generate")
    client.walk.fleet.beat(Beat(project, "here", 1, 50, queues, "gevent", "1", project), 4_000, 300_000)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten a second."""
    monkeypatch.setenv("BATCHQ_QUOTAS", json.dumps({MODEL: {"requests_per_minute": 600}}))


def submit(house: House, batchq: Terminal, items: int, *options: str) -> str:
    house.file("words.txt", "a\n" * items)
    return batchq("submit", "words.txt", *options).out.strip()


@pytest.mark.usefixtures("worker", "limited")
def test_a_paused_quota_is_told_at_once_and_no_end_is_promised(
    house: House, batchq: Terminal, client: Client
) -> None:
    client.quotas.pause(MODEL)
    house.file("words.txt", "a\n" * 30)

    submitted = batchq("submit", "words.txt")

    why = f"quota {MODEL}: paused by a person, until somebody resumes it (batchq quotas resume {QUOTA})"
    assert f"the job is paused: {why}" in submitted.err
    assert "expected end" not in submitted.err
    job = submitted.out.strip()
    assert f"paused: {why}" in batchq("status", job).out, "no worker has looked at it"
    record = batchq("status", job, "--json").json
    assert (record["state"], record["reason"], record["eta"]) == ("paused", why, None)
    assert (record["paused_by"], record["waits_for"]) == (["quota"], QUOTA)
    assert batchq("list", "--json").json["reason"] == why

    batchq("quotas", "resume", MODEL)
    assert batchq("status", job, "--json").json["eta"] == 3.0


def test_a_submission_that_nobody_will_run_tells_of_the_paused_quota_too(
    house: House, batchq: Terminal, client: Client
) -> None:
    client.quotas.pause(f"model::{MODEL}")  # of no project: no worker has named one
    house.file("words.txt", "a\n")
    said = batchq("submit", "words.txt").err
    assert "no live worker consumes" in said
    assert f"the job is paused: quota {MODEL}: paused by a person" in said


@pytest.mark.usefixtures("worker", "limited")
def test_a_jobs_own_paused_quota_is_told_by_its_name_and_so_is_what_resumes_it(
    house: House, batchq: Terminal
) -> None:
    job = submit(house, batchq, 30, "--rpm", "60")
    batchq("quotas", "pause", f"job:{job}")

    assert f"quota job:{job}: paused by a person" in batchq("status", job).out
    watched = batchq("watch", job)
    assert watched.code == 5
    assert f"batchq quotas resume job:{job}" in watched.err
    assert f"batchq resume {job}" not in watched.err
    resumed = batchq("resume", job)
    assert f"job {job} itself was not paused; it waits: quota job:{job}: paused by a person" in resumed.err

    batchq("pause", job, "--why", "tea")
    both = batchq("watch", job).err
    assert "tea; quota job:" in both
    assert f"batchq quotas resume job:{job}" in both
    assert f"batchq resume {job}" in both
    assert "is held by nothing else any more; it waits: quota job:" in batchq("resume", job).err
    assert batchq("quotas", "resume", f"job:{job}").code == 0
    assert batchq("status", job, "--json").json["state"] == "pending"
    batchq("pause", job)
    assert "goes on" in batchq("resume", job).err


def draw(client: Client, requests: int, rpm: int) -> None:
    """What a worker's gate does."""
    asked = Asked("w", (100,) * requests, 60_000, pacific.pacific_days(pacific.local_ms()))
    client.walk.quotas.register([QUOTA])
    granted = client.walk.quotas.draw([QUOTA], [QuotaLimits(requests_per_minute=rpm)], asked)
    assert len(granted.slots_ms) == requests


@pytest.mark.usefixtures("worker")
def test_a_window_that_a_lowered_limit_overfills_is_told_and_counted(
    house: House, batchq: Terminal, client: Client
) -> None:
    draw(client, 300, rpm=6_000)
    assert "open" in batchq("quotas").out
    batchq("quotas", "set", MODEL, "--rpm", "60")
    job = submit(house, batchq, 30)

    status = batchq("status", job)

    assert f"pending: waits for room in the window of {MODEL}: about 1:0" in status.out, "300 within 3 s"
    record = batchq("status", job, "--json").json
    assert record["waits_for"] == QUOTA
    assert 85 <= record["eta"] <= 94, "a minute for room, half a one for 30 at one a second"
    assert "its window is full, room in about 1:0" in batchq("quotas").out
    assert batchq("quotas", "--json").json["room_s"] > 55
    watching = house.start("watch", job)
    watching.says(f"waits for room in the window of {MODEL}: about ")
    watching.kill()


@pytest.mark.usefixtures("worker")
def test_a_window_used_to_the_full_is_nothing_to_wait_for(
    house: House, batchq: Terminal, client: Client
) -> None:
    store: Database = client.walk.jobs._db
    store.now_ms = store.server_ms() - 57_000
    draw(client, 60, rpm=600)
    store.now_ms = None
    batchq("quotas", "set", MODEL, "--rpm", "60")
    job = submit(house, batchq, 10)
    assert batchq("quotas", "--json").json["used"]["requests"] == 60
    assert batchq("status", job, "--json").json["reason"] is None, "the first of them leave in four seconds"


@pytest.mark.usefixtures("worker", "limited")
def test_a_small_job_beside_a_large_one_costs_it_its_own_items_only(
    house: House, batchq: Terminal, client: Client
) -> None:
    large = submit(house, batchq, 3_000)
    assert batchq("status", large, "--json").json["eta"] == 300.0
    advance(client.walk, large)  # it fills the window: what is on its way
    out = client.status(large).processing
    assert out >= 60

    small = submit(house, batchq, 2)
    advance(client.walk, small)

    assert batchq("status", large, "--json").json["eta"] == pytest.approx(300, abs=1)
    assert batchq("status", small, "--json").json["eta"] == pytest.approx((out + 2) / 10)


@pytest.mark.usefixtures("worker")
def test_a_limit_that_is_being_found_out_is_the_reason_for_no_end(house: House, batchq: Terminal) -> None:
    house.file("words.txt", "a\n" * 30)
    submitted = batchq("submit", "words.txt")
    assert f"the job is pending: the quota of {MODEL} is being found out" in submitted.err
    record = batchq("status", submitted.out.strip(), "--json").json
    assert (record["eta"], record["waits_for"]) == (None, QUOTA)


@pytest.mark.usefixtures("limited")
def test_status_says_that_nobody_is_there_to_do_the_work(
    house: House, batchq: Terminal, client: Client
) -> None:
    job = submit(house, batchq, 30)
    space = house.namespace
    nobody = f"no live worker consumes {space}.control, {space}.generate: start one with `batchq worker`"
    assert f"pending: {nobody}" in batchq("status", job).out
    record = batchq("status", job, "--json").json
    assert (record["reason"], record["eta"]) == (nobody, None)

    begin_worker(client, "control", "embed")
    assert f"no live worker consumes {space}.generate: start" in batchq("status", job).out
    begin_worker(client)
    assert batchq("status", job, "--json").json["reason"] is None
    assert client.walk.spec(job).project is None
    client.pin(job, "another")
    assert client.walk.spec(job).project == "another", "who knew the job before goes by its new project"
    assert f"no live worker consumes {space}.generate for project another" in batchq("status", job).out


@pytest.mark.usefixtures("limited")
def test_the_workers_of_a_runs_emulator_are_nobody_to_a_submitted_job(
    house: House, batchq: Terminal, client: Client
) -> None:
    begin_worker(client, "control", "generate", "shout", project=RUN_EMULATOR)
    job = submit(house, batchq, 30)
    nobody = f"no live worker consumes {house.namespace}.generate: start one with `batchq worker`"
    assert batchq("status", job, "--json").json["reason"] == nobody
    found = batchq("doctor", "--no-provider").out
    assert f"no live worker consumes {house.namespace}.generate" in found
    assert f"no live worker consumes {house.namespace}.shout" not in found, "it asks no model"
    own = batchq("submit", "words.txt", "--operation", "shout").out.strip()
    assert batchq("status", own, "--json").json["reason"] is None

    begin_worker(client)
    assert batchq("status", job, "--json").json["reason"] is None
    assert "several projects" not in batchq("doctor", "--no-provider").out


def test_watch_tells_how_the_job_stands_at_once(house: House, batchq: Terminal) -> None:
    job = submit(house, batchq, 4)
    batchq("pause", job)
    assert batchq("watch", job).err.startswith("0 %: 0 of 4 items, paused")
