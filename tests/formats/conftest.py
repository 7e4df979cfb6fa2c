from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from formats_helpers import Inputs
from postgres_kit import postgres_server


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    folder = tmp_path / "in"
    folder.mkdir()
    return Inputs(folder)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres(postgres_url: str) -> str:
    """The URL of an empty database."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_url


@pytest.fixture
def connections(postgres_url: str) -> Callable[[], int]:
    """How many connections of batchq the server has, once no more of them are going away."""

    def count() -> int:
        deadline, seen, same = time.monotonic() + 5, -1, 0
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'batchq'"
            while same < 3 and time.monotonic() < deadline:
                row = connection.execute(query).fetchone()
                assert row is not None
                same = same + 1 if row[0] == seen else 0
                seen = row[0]
                connection.execute("SELECT pg_sleep(0.02)")
        return seen

    return count
