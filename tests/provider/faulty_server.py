"""A local HTTP server that answers the way a test asks it to, over raw sockets, and counts what it saw."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from batchq.providers.gemini import GeminiProvider

Serve = Callable[["Script"], tuple["FaultyServer", GeminiProvider]]  # the fixture `serve`
Script = Callable[[socket.socket, bytes], None]  # the connection, and the request as it came

ANSWER: dict[str, Any] = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "fine"}]}, "finishReason": "STOP", "index": 0}
    ],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
    "modelVersion": "gemini-2.5-flash-lite",
    "responseId": "r-1",
    "aFieldOfTomorrow": {"kept": True},
}


@dataclass
class FaultyServer:
    """Answers each request with `script`; `requests` holds them all, `connections` counts what was opened."""

    url: str
    script: Script
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    in_call: int = 0
    most_in_call: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.partition(b"\r\n\r\n")[2] or b"null") for request in self.requests]


def reply(
    body: bytes | dict[str, Any] | list[Any],
    status: str = "200 OK",
    *headers: str,
    content_type: str = "application/json; charset=UTF-8",
) -> Script:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(raw)}", *headers]

    def script(connection: socket.socket, _request: bytes) -> None:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + raw)

    return script


def in_turn(*scripts: Script) -> Script:
    """The first request gets the first script, …, the last one all that follow."""
    left = list(scripts)

    def script(connection: socket.socket, request: bytes) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection, request)

    return script


def reset(connection: socket.socket, _request: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(connection: socket.socket, _request: bytes) -> None:
    connection.close()


def _read_request(connection: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def _serve(server: FaultyServer, connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while (request := _read_request(connection)) is not None:
            with server.lock:
                server.requests.append(request)
                server.in_call += 1
                server.most_in_call = max(server.most_in_call, server.in_call)
            try:
                server.script(connection, request)
            finally:
                with server.lock:
                    server.in_call -= 1


@contextmanager
def serving(script: Script) -> Iterator[FaultyServer]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        server = FaultyServer(f"http://127.0.0.1:{listener.getsockname()[1]}", script)

        def accept() -> None:
            while not server.stopped.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with server.lock:
                    server.connections += 1
                threading.Thread(target=_serve, args=(server, connection), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
