"""A scene on the suite's server, and the pools that a case runs on."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_kit import OPERATIONS
from redis_kit import DURABLE, RedisServer, redis_server
from sentinel_kit import Guarded, guarded

from batchq.embedded import EmbeddedServer
from batchq.store.database import Database
from faults.kit import Scene, note, scene_on


@pytest.fixture(autouse=True)
def own_operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client looks the operations up too."""
    monkeypatch.setenv("FLEET_CALLS", str(tmp_path / "calls"))
    monkeypatch.syspath_prepend(str(OPERATIONS))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What the moment of a fault is drawn from: --seed, else the same for a case each time. Shown on failure."""
    given = request.config.getoption("--seed")
    seed = zlib.crc32(request.node.name.encode()) if given is None else int(given)
    print(f"seed {seed} (again: --seed {seed})", file=sys.stderr)  # noqa: T201
    return seed


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, server: EmbeddedServer, database: Database, tmp_path: Path, seed: int
) -> Iterator[Scene]:
    with scene_on(server.url, tmp_path, seed, embedded=True) as scene:
        yield scene
    note(request, scene)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server to be broken: what it is told is on its disk at most a second later."""
    with redis_server(tmp_path / "redis", *DURABLE) as server:
        yield server


@pytest.fixture
def own_scene(
    request: pytest.FixtureRequest, own_server: RedisServer, tmp_path: Path, seed: int
) -> Iterator[Scene]:
    """A scene on that server."""
    with scene_on(own_server.url, tmp_path, seed) as scene:
        yield scene
    note(request, scene)


@pytest.fixture
def guarded_servers(tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path / "servers") as servers:
        yield servers


@pytest.fixture
def guarded_scene(
    request: pytest.FixtureRequest, guarded_servers: Guarded, tmp_path: Path, seed: int
) -> Iterator[Scene]:
    """A scene on a master that Sentinels watch."""
    with scene_on(guarded_servers.url, tmp_path, seed) as scene:
        yield scene
    note(request, scene)


@pytest.fixture(params=["gevent", "prefork"])
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)
