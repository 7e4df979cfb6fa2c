"""One real server for the whole run (the embedded one, in a folder of its own), emptied before each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.figures import Table

from batchq import embedded, wiring
from batchq.operations import registry
from batchq.store.database import Database

# what the developer's shell has set must not reach the tests
for _name in list(os.environ):
    if _name.startswith(("BATCHQ_", "CELERY_", "GEMINI_", "GOOGLE_")) and _name != "BATCHQ_TEST_DATA":
        del os.environ[_name]

# a shell starts what runs in the background deaf to Ctrl-C, and commands under test inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "the fault suite")
    group.addoption("--seed", help="draw the moments of faults from this number")
    group.addoption(
        "--figures", type=Path, metavar="PAGE", help="write what the cases measured into the table of PAGE"
    )


def pytest_configure(config: pytest.Config) -> None:
    page = config.getoption("--figures")
    if page is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(page))


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
