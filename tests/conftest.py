"""One real server for the whole run (the embedded one, in a folder of its own), emptied before each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchq import embedded, wiring
from batchq.operations import registry
from batchq.store.database import Database

# what the developer's shell has set must not reach the tests
for _name in list(os.environ):
    if _name.startswith(("BATCHQ_", "CELERY_", "GEMINI_", "GOOGLE_")) and _name != "BATCHQ_TEST_DATA":
        del os.environ[_name]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.EmbeddedServer]:
    folder = tmp_path_factory.mktemp("server")
    yield embedded.start(folder)
    embedded.stop(folder)


@pytest.fixture
def database(server: embedded.EmbeddedServer) -> Iterator[Database]:
    database = Database(server.url)
    database.command("FLUSHALL")
    yield database
    database.close()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's data or configuration, nor a batchq.toml that lies about."""
    monkeypatch.setenv("BATCHQ_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(autouse=True)
def own_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process asks its environment for a provider once; each test is to be asked anew."""
    monkeypatch.setattr(registry, "_provider", None)
    yield
    wiring.provider.cache_clear()
