"""A worker that is killed while it writes results: the destination is the old one, then, by another worker, the new."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from fleet_kit import Fleet, eventually
from places import OLD, Place

from batchq import Client, Item
from batchq.core.lifecycle import JobState

ITEMS = 40
STALE_S = 30  # until a silent finisher counts as dead, see store/jobs.py


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Nobody else can write there, so that whoever does waits just before its swap."""
    if place.url.startswith("sqlite"):
        connection = sqlite3.connect(place.url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.close()
        return
    with psycopg.connect(place.url.partition("&table")[0]) as server:
        server.execute("LOCK TABLE answers IN SHARE MODE")
        yield
        server.rollback()


@pytest.mark.fault
@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
def test_a_worker_killed_at_the_swap_leaves_the_old_table_and_another_writes_the_new_one(
    fleet: Fleet, client: Client, place: Place
) -> None:
    worker = fleet.start()
    with locked(place):
        items = [Item(f"i{number}", {"n": number}) for number in range(ITEMS)]
        job = client.submit(items, operation="work", destination=place.url, all_or_nothing=True)

        def writing() -> bool:
            told = job.status().destination
            return told is not None and told["state"] == "writing"

        eventually(writing, 90)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        assert place.read() == OLD
        assert job.status().state is JobState.PROCESSING
    assert place.read() == OLD
    fleet.start()
    eventually(lambda: job.status().state is JobState.COMPLETED, STALE_S + 60)
    assert place.read().keys() == {"old", *(f"i{number}" for number in range(ITEMS))}
    assert max(fleet.calls().values()) == 1
