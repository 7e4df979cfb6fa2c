"""The HTTP under google-genai: one deadline a call, one request a call, connections shared by all calls.

HTTP libraries limit each read; an answer that drips a byte a second outlives any such timeout, and pools of
greenlets and threads ignore Celery's soft limits. So the deadline of the call in hand lies in a context
variable and every wait below looks at it: for a free connection, the name's address, the handshake, each
write and each read. httpx2's own pool scans all of its connections at each request (5.7 ms of CPU a call at
500 of them); here idle connections lie on a stack.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any

import httpcore2
import httpx2

MAX_BODY = 32 * 1024 * 1024  # bytes, unpacked; the largest answers (images, 100 vectors) are far below
KEEPALIVE_S = 60.0  # an idle connection older than this is not trusted; Google's front end keeps it longer
TIDY_S = 1.0  # between two looks at connections that nobody has used for long
ONE_ADDRESS_S = 5.0  # for one of a host's addresses while others are left to try


class BodyTooLarge(Exception):
    """The answer is larger than MAX_BODY."""


@dataclass(slots=True)
class Exchange:
    """What one call saw of the network. `status` None: no answer began. Inside its `with` block it is the call in hand."""

    deadline: float  # time.monotonic()
    sent: bool = False
    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    _before: Token[Exchange | None] | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Exchange:
        self._before = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._before is not None
        _current.reset(self._before)

    def left(self) -> float:
        """Seconds until the deadline; a ReadTimeout once it is over."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the deadline of the call is over")
        return left


_current: ContextVar[Exchange | None] = ContextVar("batchq_exchange", default=None)


def exchange(timeout_s: float) -> Exchange:
    """All network waits of this thread or greenlet inside its `with` block end `timeout_s` from now."""
    return Exchange(deadline=time.monotonic() + timeout_s)


def _in_hand() -> Exchange:
    # A call past our own path must end too: each of its waits then has two minutes.
    return _current.get() or Exchange(deadline=time.monotonic() + 120.0)


class DeadlineStream(httpcore2.NetworkStream):
    """A connection on which every wait ends at the deadline of the call in hand, whatever it is told."""

    SLICE = 256 * 1024  # bytes; below, a timeout holds for each send, so a large body is cut into slices

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, _in_hand().left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        current = _in_hand()
        current.sent = True
        if len(buffer) <= self.SLICE:
            self._inner.write(buffer, current.left())
            return
        view = memoryview(buffer)
        for start in range(0, len(view), self.SLICE):
            self._inner.write(view[start : start + self.SLICE], current.left())  # type: ignore[arg-type]

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> DeadlineStream:
        return DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, _in_hand().left()))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked of each connection before and after its use
            return _is_readable(self._inner.get_extra_info("socket"))
        return self._inner.get_extra_info(info)


def _is_readable(connection: socket.socket) -> bool:
    """Whether something lies ready to be read, be it the end of the connection. It never waits, so it needs no turn of
    gevent's loop, which gevent's own poll takes at eighteen times the price."""
    number = connection.fileno()
    if number < 0:
        return True
    look = _poll()()
    look.register(number, select.POLLIN)
    return bool(look.poll(0))


@cache
def _poll() -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return select.poll if monkey is None else monkey.get_original("select", "poll")


class DeadlineBackend(httpcore2.NetworkBackend):
    """Connects within the deadline of the call in hand, the look-up of the name included."""

    def __init__(self) -> None:
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> DeadlineStream:
        current = _in_hand()
        options = [*(socket_options or ()), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        addresses = self.addresses(host, port, current.left())
        for nth, address in enumerate(addresses, 1):
            patience = current.left() if nth == len(addresses) else min(current.left(), ONE_ADDRESS_S)
            try:
                return DeadlineStream(
                    self._inner.connect_tcp(address, port, patience, local_address, options)
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if nth == len(addresses):
                    raise
        raise httpcore2.ConnectError(f"{host} has no address")

    def addresses(self, host: str, port: int, timeout_s: float) -> list[str]:
        """Where to connect to, in order."""
        return look_up(host, port, timeout_s)


def look_up(host: str, port: int, timeout_s: float) -> list[str]:
    """The addresses of a name; ConnectTimeout when the resolver does not answer in time.

    getaddrinfo knows no timeout, so it runs in a thread (on gevent: a greenlet) that is left behind.
    """
    if host.replace(".", "").isdigit() or ":" in host:
        return [host]
    found: list[str] = []
    failed: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        try:
            for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                found.append(str(address[0]))
        except (OSError, UnicodeError) as exc:  # UnicodeError: a label that is too long
            failed.append(exc)
        finally:
            done.set()

    threading.Thread(target=ask, name="batchq-look-up", daemon=True).start()
    if not done.wait(timeout_s):
        raise httpcore2.ConnectTimeout(f"no answer for the name {host}")
    if failed:
        raise httpcore2.ConnectError(f"cannot resolve {host}: {failed[0]}") from failed[0]
    return list(dict.fromkeys(found))


@cache
def certificates() -> ssl.SSLContext:
    """One SSL context for all connections, chosen as google-genai does."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(
            cafile=os.environ.get("SSL_CERT_FILE"), capath=os.environ.get("SSL_CERT_DIR")
        )
    return httpx2.create_ssl_context()


class Transport(httpx2.BaseTransport):
    """Sends each request once, over at most `most` connections, and reads the whole answer.

    `proxy` is an HTTP proxy's URL. No redirects, no retries, no streaming.
    """

    def __init__(self, ssl_context: ssl.SSLContext, *, most: int, proxy: str | None = None) -> None:
        # httpcore2's pool serves as the factory of connections only: it knows about proxies.
        self._factory = httpcore2.ConnectionPool(
            ssl_context=ssl_context,
            proxy=httpcore2.Proxy(proxy) if proxy else None,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=DeadlineBackend(),
        )
        # one for each connection; a semaphore costs twenty times as much on gevent
        self._slots: SimpleQueue[None] = SimpleQueue()
        for _ in range(most):
            self._slots.put(None)
        # by origin; a request takes the newest and lays it back
        self._idle: dict[str, deque[httpcore2.ConnectionInterface]] = {}
        self._tidy_at = 0.0  # monotonic

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        current = _in_hand()
        try:
            self._slots.get(timeout=current.left())
        except Empty:
            raise httpcore2.PoolTimeout("no connection became free before the deadline") from None
        try:
            return self._send(request, current)
        finally:
            self._slots.put(None)

    def _send(self, request: httpx2.Request, current: Exchange) -> httpx2.Response:
        url = request.url
        inner = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
        )
        origin = inner.url.origin
        place = str(origin)
        connection = self._take(place) or self._factory.create_connection(origin)
        try:
            response = connection.handle_request(inner)
            current.status = response.status
            headers, body = _read(response)
        except BaseException:
            connection.close()  # also on gevent.Timeout: half an answer is left on it
            raise
        self._give_back(place, connection)
        current.body = body
        if response.status != 200:
            # An error page in another charset would raise UnicodeDecodeError in place of the error.
            body = body.decode("utf-8", "replace").encode()
        return httpx2.Response(response.status, headers=headers, content=body)

    def _take(self, place: str) -> httpcore2.ConnectionInterface | None:
        idle = self._idle.get(place)
        while idle:
            try:
                connection = idle.pop()  # the newest: the others may rest and go
            except IndexError:  # another thread was quicker
                break
            if not connection.has_expired():
                return connection
            connection.close()
        return None

    def _give_back(self, place: str, connection: httpcore2.ConnectionInterface) -> None:
        if not connection.is_idle():
            connection.close()  # the server said it would close it
            return
        idle = self._idle.setdefault(place, deque())
        idle.append(connection)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_S
            _close_expired(idle)

    def close(self) -> None:
        for idle in list(self._idle.values()):
            while idle:
                with suppress(IndexError):
                    idle.pop().close()


def _close_expired(idle: deque[httpcore2.ConnectionInterface]) -> None:
    """The oldest lie at the left."""
    with suppress(IndexError):  # others may take them meanwhile
        while True:
            oldest = idle.popleft()
            if not oldest.has_expired():
                idle.appendleft(oldest)
                return
            oldest.close()


def _read(response: httpcore2.Response) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and whole body, unpacked, at most MAX_BODY of it."""
    packed = any(
        name.lower() == b"content-encoding" and value.lower() != b"identity"
        for name, value in response.headers
    )
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if packed else None
    chunks: list[bytes] = []
    room = MAX_BODY
    for raw in response.stream:  # type: ignore[union-attr]
        chunk = unpack.decompress(raw, room + 1) if unpack else raw
        room -= len(chunk)
        if room < 0:
            raise BodyTooLarge(f"the answer is larger than {MAX_BODY} bytes")
        chunks.append(chunk)
    response.close()
    if unpack and not unpack.eof:
        raise zlib.error("the packed answer is cut off")
    described = (b"content-encoding", b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in response.headers if name.lower() not in described]
    return headers, b"".join(chunks)
