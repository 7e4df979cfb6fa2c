"""A web server that keeps what it is sent and answers as a test tells it to."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0IGJ5dGVzIG9mIHRoZSB0ZXN0cyE="


@dataclass
class Receiver:
    """`answers` are used up in order, then it is 204: a status, "drip" (never a whole head) or "endless" (a body)."""

    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    location: str = ""  # of redirects
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def events(self) -> list[tuple[str, str, Any]]:
        """Id, type and data of each delivery, its signature checked by the specification's own library."""
        told = [(headers, Webhook(SECRET).verify(body, headers)) for headers, body in list(self.received)]
        return [(headers["webhook-id"], event["type"], event["data"]) for headers, event in told]


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            receiver.received.append(({"method": "GET"}, b"null"))
            self.send_error(405)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            answer = receiver.answers.pop(0) if receiver.answers else 204
            with suppress(OSError):
                _answer(self, answer, receiver)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.url = f"{'https' if context else 'http'}://localhost:{server.server_port}/told"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield receiver
    receiver.stopped.set()
    server.shutdown()
    server.server_close()


def _answer(handler: BaseHTTPRequestHandler, answer: int | str, receiver: Receiver) -> None:
    if isinstance(answer, int):
        handler.send_response(answer)
        if receiver.location:
            handler.send_header("Location", receiver.location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    drips = answer == "drip"
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"" if drips else b"\r\n"))
    while not receiver.stopped.is_set():
        handler.wfile.write(b"X" if drips else b"x" * 65_536)
        handler.wfile.flush()
        if drips:
            time.sleep(0.05)
