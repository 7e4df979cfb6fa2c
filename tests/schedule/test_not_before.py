"""A job with a time: accepted, shown with it, and nothing of it goes out before, by the store's clock."""

from __future__ import annotations

import time

import pytest
from fleet_kit import Fleet

from batchq import Client, InputError
from batchq.core.lifecycle import JobState
from batchq.flow.advance import advance
from batchq.flow.heal import sweep
from batchq.store.database import Database

HOUR_S = 3_600


def store_of(client: Client) -> Database:
    database: Database = client.walk.jobs._db
    return database


def test_nothing_goes_out_before_its_time_and_then_it_is_due(client: Client) -> None:
    begins = time.time() + HOUR_S
    job = client.submit(["a", "b"], operation="work", not_before=begins, rpm=1)
    record = job.status()
    assert (record.state, record.pending) == (JobState.PENDING, 2)
    assert record.not_before == pytest.approx(begins, abs=0.01)
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(begins))
    assert record.reason == f"not before {shown}"
    assert record.eta == pytest.approx(HOUR_S + 120, abs=30)
    advance(client.walk, job.id)
    assert sweep(client.walk)
    assert job.status().pending == 2
    assert client.walk.items.take(job.id, 0, 10, 10).positions == ()

    store = store_of(client)
    store.now_ms = int((begins + 1) * 1000)
    assert client.walk.jobs.due(10) == [job.id]  # nobody but the clock has woken it
    assert client.walk.items.take(job.id, 0, 10, 10).positions == (0, 1)
    assert job.status().state is JobState.PROCESSING
    assert "no live worker consumes" in (job.status().reason or ""), "which it did not need before"
    store.now_ms = None


def test_the_sweeper_looks_at_it_again_when_its_time_comes(client: Client) -> None:
    job = client.submit(["a"], operation="work", not_before=time.time() + 5)
    store = store_of(client)
    now = store.server_ms()
    store.now_ms = now
    sweep(client.walk)
    [(_, due)] = store.command("ZRANGE", store.keys.due, 0, -1, "WITHSCORES")
    assert 3_000 < float(due) - now <= 5_000
    store.now_ms = None
    job.cancel()
    assert job.status().state is JobState.CANCELLED


def test_a_deadline_before_the_job_may_begin_is_refused(client: Client) -> None:
    with pytest.raises(InputError, match="before the time at which the job may begin"):
        client.submit(["a"], not_before=time.time() + 60, deadline=time.time() + 30)
    with pytest.raises(InputError, match="not_before must be a number"):
        client.submit(["a"], not_before="tomorrow")  # type: ignore[typeddict-item]


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_workers_begin_when_its_time_has_come(fleet: Fleet, client: Client) -> None:
    fleet.start()
    client.submit(["now"], operation="work").wait(150)
    begins = store_of(client).server_ms() / 1000 + 3
    job = client.submit([("later", "x")], operation="work", not_before=begins)
    assert job.wait(150).state is JobState.COMPLETED
    [called] = [float(words[3]) for words in fleet.lines() if words[:2] == ["call", "later"]]
    assert called >= begins
