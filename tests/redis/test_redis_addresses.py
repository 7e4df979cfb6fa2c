"""Each form of the server's address carries a job: store, broker and results alike."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_kit import OPERATIONS, SHORT, Fleet, eventually
from redis_kit import IN_MEMORY, redis_server
from sentinel_kit import guarded
from tls_kit import certificate

from batchq import Client
from batchq.settings import Settings


@contextlib.contextmanager
def tls_proxy(folder: Path, behind: int) -> Iterator[tuple[int, Path]]:
    """A port that speaks TLS, before a server that does not; and the authority to trust."""
    made = certificate(folder)
    context, listener = made.server_context(), socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve(plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(plain, server_side=True) as outer,
            socket.create_connection(("127.0.0.1", behind)) as inner,
        ):
            back = threading.Thread(target=copy, args=(inner, outer), daemon=True)
            back.start()
            copy(outer, inner)
            back.join()

    def accept() -> None:
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1], made.authority
    stopped.set()
    listener.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Fleet]]:
    started: list[Fleet] = []
    yield started
    for fleet in started:
        fleet.stop()


def carries_a_job(workers: list[Fleet], tmp_path: Path, url: str, **extra: str) -> Fleet:
    """A worker and a client at this address, and a job that needs a retry by message and a chord's end."""
    fleet = Fleet(url, tmp_path, {f"BATCHQ_{name.upper()}": value for name, value in extra.items()})
    fleet.calls_file.touch()
    workers.append(fleet)
    fleet.start("gevent", 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_CALLS", str(fleet.calls_file))
        patch.syspath_prepend(str(OPERATIONS))
        settings = Settings(redis_url=url, include=("fleet_operations",), **extra, **SHORT)  # type: ignore[arg-type]
        with Client(settings=settings) as client:
            eventually(lambda: len(client.fleet()) == 1)
            again = {"id": "again", "input": {"n": 1, "fail": 1, "error": "passing"}}
            job = client.submit(
                [again, *({"id": f"i{n}", "input": {"n": n}} for n in range(5))], operation="work"
            )
            assert job.wait(60).succeeded == 6
    assert fleet.calls()["again"] == 2
    return fleet


def test_over_tls_that_is_verified(workers: list[Fleet], tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "r", *IN_MEMORY) as server,
        tls_proxy(tmp_path, server.port) as (port, trusted),
    ):
        unknown = Settings(redis_url=f"rediss://127.0.0.1:{port}/0")
        with Client(settings=unknown) as stranger, pytest.raises(Exception, match="certificate"):
            list(stranger.list())
        carries_a_job(workers, tmp_path, f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted}")


def test_over_a_socket_with_a_password(workers: list[Fleet], tmp_path: Path) -> None:
    path = tmp_path / "s"
    with redis_server(tmp_path / "r", *IN_MEMORY, "--unixsocket", str(path)) as server:
        server.command("CONFIG", "SET", "requirepass", "p@ss")
        carries_a_job(workers, tmp_path, f"redis+socket://:p%40ss@{path}?virtual_host=3")


def test_over_sentinels_with_passwords_of_their_own(workers: list[Fleet], tmp_path: Path) -> None:
    with guarded(tmp_path / "servers") as servers:
        carries_a_job(workers, tmp_path, servers.url)


def test_with_the_broker_on_a_second_server_and_results_on_a_third(
    workers: list[Fleet], tmp_path: Path
) -> None:
    with (
        redis_server(tmp_path / "a", *IN_MEMORY) as store,
        redis_server(tmp_path / "b", *IN_MEMORY) as broker,
        redis_server(tmp_path / "c", *IN_MEMORY) as results,
    ):
        carries_a_job(workers, tmp_path, store.url, broker_url=broker.url, result_backend=results.url)
        assert not [key for key in store.command("KEYS", "*") if key.startswith((b"_kombu", b"celery"))]
        assert not [key for key in broker.command("KEYS", "*") if b"{" in key]
        assert any(key.startswith(b"celery-taskset") for key in results.command("KEYS", "*"))
