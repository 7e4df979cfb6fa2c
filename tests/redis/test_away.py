"""What a program and a command meet while the server is away: an answer soon, or patience where they wait anyway."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fleet_kit import eventually
from redis_kit import redis_server

from batchq import Client
from batchq.core.records import Result
from batchq.errors import StoreUnavailable
from batchq.settings import Settings
from batchq.store.database import Database

TRIES = 2


@contextmanager
def hanging() -> Iterator[tuple[int, list[socket.socket]]]:
    """A server that takes connections and never says a word; its port, and those that it has."""
    taken: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                taken.append(listener.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield listener.getsockname()[1], taken
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for one in taken:
        one.close()


def test_a_server_that_hangs_is_told_of_after_two_tries() -> None:
    with hanging() as (port, taken):
        database = Database(f"redis://127.0.0.1:{port}/0", "batchq", timeout_s=0.3)
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            database.command("LLEN", "batchq.work")
        database.close()
    assert len(taken) == TRIES


def test_a_reader_of_results_waits_for_a_server_that_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read: list[Result] = []
    with (
        redis_server(tmp_path, "--appendonly", "yes") as server,
        Client(settings=Settings(redis_url=server.url, socket_timeout_s=2)) as client,
    ):
        job = client.submit(["Name a colour.", "Name a fruit."])
        reader = threading.Thread(target=lambda: read.extend(job.results(wait=True)), daemon=True)
        reader.start()
        server.stop()
        eventually(lambda: "waiting for the job store" in caplog.text)
        server.start()
        job.cancel()
        reader.join(30)
    assert [(one.index, str(one.status)) for one in read] == [(0, "cancelled"), (1, "cancelled")]
