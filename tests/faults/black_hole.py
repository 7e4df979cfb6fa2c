"""A network between a server and its clients that can swallow everything, without a word to either."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class BlackHole:
    """Copies what goes between clients and the server, or swallows it."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """From here on nothing comes through; nobody is told."""
        self._open.clear()

    def go_on(self) -> None:
        """What was under way is lost with its connection; new ones come through."""
        self._open.set()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.wait()
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._behind)) as server:
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
            self._copy(client, server)

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not self._open.is_set():
                    self._open.wait()  # a late answer would be taken for that of another question
                    break
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def black_hole(behind: int) -> Iterator[BlackHole]:
    made = BlackHole(behind)
    try:
        yield made
    finally:
        made.go_on()
        made.close()
