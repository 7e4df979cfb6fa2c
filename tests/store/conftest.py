"""A job store whose every call is held to the headers of the scripts, on the run's one server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from store_world import CheckedDatabase, World

from batchq import embedded
from batchq.store.database import Database


@pytest.fixture
def checked(server: embedded.EmbeddedServer, database: Database) -> Iterator[CheckedDatabase]:
    """Emptied by `database`; its calls are checked."""
    checked = CheckedDatabase(server.url)
    yield checked
    checked.close()


@pytest.fixture
def world(checked: CheckedDatabase) -> World:
    return World(checked)
