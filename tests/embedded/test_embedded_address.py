"""Where the server listens, and that Celery's broker and result backend get there by its URL."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from celery import Celery
from embedded_helpers import client, crash
from kombu import Connection

from batchq import embedded
from batchq.core import redis_url

LONG = "a-folder-name-that-is-long/" * 5


def test_a_path_too_long_for_a_socket_moves_it_to_a_private_temp_folder(
    new_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    temp = new_folder("tmp")
    temp.mkdir(mode=0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(temp))

    server = embedded.start(new_folder(LONG))

    assert server.socket is not None
    assert Path(server.socket).parent.parent == temp
    assert Path(server.socket).parent.stat().st_mode & 0o777 == 0o700
    assert client(server).ping()
    assert embedded.running(Path(server.data_dir)) == server


@pytest.fixture
def no_socket(new_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with no place for a socket: its path and the temp folder's are too long."""
    temp = new_folder(LONG + "tmp")
    temp.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    return new_folder(LONG + "server")


def test_without_a_place_for_a_socket_it_listens_on_loopback_only(no_socket: Path) -> None:
    server = embedded.start(no_socket)

    assert server.socket is None
    assert server.url == f"redis://:{server.password}@127.0.0.1:{server.port}/0"
    assert server.shown_url == f"redis://127.0.0.1:{server.port}/0"
    listening = [
        found.laddr
        for found in psutil.Process(server.pid).net_connections("inet")
        if found.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", server.port)]
    with pytest.raises(redis.AuthenticationError):
        client(server, password="").ping()
    assert redis.Redis.from_url(server.url).ping()


def test_the_port_stays_the_same_while_it_is_free(no_socket: Path) -> None:
    first = embedded.start(no_socket)
    crash(first)

    assert embedded.start(no_socket).url == first.url


def test_a_busy_port_moves_the_server_to_the_next(no_socket: Path) -> None:
    first = embedded.start(no_socket)
    assert first.port is not None
    client(first).set("key", "value")
    embedded.stop(no_socket)
    with socket.socket() as somebody, socket.socket() as another:
        for place, stranger in enumerate((somebody, another)):
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stranger.bind(("127.0.0.1", first.port + place))
            stranger.listen()
            stranger.settimeout(0.1)

        assert embedded.running(no_socket) is None
        second = embedded.start(no_socket)

        assert second.port not in (None, first.port, first.port + 1)
        assert client(second).get("key") == "value"
        for stranger in (somebody, another):
            with pytest.raises(TimeoutError):  # nobody told a stranger our password
                stranger.accept()


def test_a_temp_folder_that_somebody_else_made_first_is_not_trusted(
    new_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    temp, trap = new_folder("tmp"), new_folder("trap")
    temp.mkdir()
    trap.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    data_dir = new_folder(LONG)
    first = embedded.start(data_dir)
    assert first.socket is not None
    embedded.stop(data_dir)
    Path(first.socket).parent.rmdir()
    Path(first.socket).parent.symlink_to(trap)

    assert embedded.start(data_dir).socket is None


FOLDERS = ["plain", "with space", "100%", "a#b?c", "é日本", "A+B@c:d", 'quote"back\\slash', "%20"]


@pytest.mark.parametrize("name", FOLDERS)
def test_celery_reaches_it_as_broker_and_as_result_backend(
    new_folder: Callable[[str], Path], name: str
) -> None:
    server = embedded.start(new_folder(name))
    address = redis_url.parse(server.url)

    with Connection(address.broker_url()) as connection, connection.SimpleQueue("queue") as queue:
        queue.put({"hello": "broker"})
        assert queue.get(timeout=5).payload == {"hello": "broker"}
    backend: Any = Celery(
        "app", backend=address.backend_url(), broker=address.broker_url(), set_as_current=False
    ).backend
    backend.store_result("id", {"hello": "backend"}, "SUCCESS")
    assert backend.get_result("id") == {"hello": "backend"}
    assert client(server).exists("celery-task-meta-id")


def test_the_url_itself_is_a_broker_url_and_picks_another_database_too(data_dir: Path) -> None:
    server = embedded.start(data_dir)

    with Connection(server.url.replace("virtual_host=0", "virtual_host=3")) as connection:
        channel: Any = connection.default_channel
        channel.client.set("where", "here")

    assert client(server).execute_command("INFO", "keyspace")["db3"]["keys"] == 1
