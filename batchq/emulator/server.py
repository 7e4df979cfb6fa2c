"""Running an emulator: in a thread beside a test, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from batchq.emulator.app import App
from batchq.emulator.emulation import Emulation
from batchq.emulator.options import EmulatorOptions
from batchq.errors import ConfigurationError

BACKLOG = 2048
GRACE_S = 0.2  # for answers under way when the emulator ends

T = TypeVar("T")


class Emulator:
    """An emulator on a thread of this process, on a loopback port that nobody else has.

    `with Emulator(EmulatorOptions(rpm=60)) as emulator:`, then GOOGLE_GEMINI_BASE_URL=emulator.url. All methods
    may be called from any thread between start and close.
    """

    def __init__(self, options: EmulatorOptions | None = None, *, port: int = 0) -> None:
        self._options = options or EmulatorOptions()
        self._wanted_port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._emulation: Emulation | None = None
        self.url = ""
        self.port = 0

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> Emulator:
        """Listen. Raises ConfigurationError where the port is taken or the labels cannot be read."""
        assert self._thread is None, "an emulator starts once"
        emulation = Emulation(self._options)
        listener = listening("127.0.0.1", self._wanted_port)
        self._emulation = emulation
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        ready = threading.Event()
        main = _serving(emulation, listener, self._stop, ready.set)
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, main), name="gemini-emulator", daemon=True
        )
        self._thread.start()
        ready.wait()
        self.url, self.port = url_of(listener), listener.getsockname()[1]
        return self

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop, main: Any) -> None:
        with contextlib.closing(loop):
            loop.run_until_complete(main)
            loop.run_until_complete(loop.shutdown_default_executor())

    def close(self) -> None:
        """Stop listening and cut off what is under way. A second call does nothing."""
        if self._thread is None or self._loop is None or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def stats(self) -> dict[str, Any]:
        """Counts since the start or the last reset; see recording.Recorder.stats. `files`: those uploaded."""
        return self._on_loop(lambda emulation: emulation.stats())

    def calls(self) -> list[dict[str, Any]]:
        """The latest calls, oldest first."""
        return self._on_loop(lambda emulation: [call.record() for call in emulation.recorder.calls])

    def prompts(self) -> list[dict[str, Any]]:
        """Each distinct prompt: key (16 hex digits of answers.prompt_key), requests, answered, text."""
        return self._on_loop(lambda emulation: list(emulation.recorder.prompts()))

    def requests_of(self, key: bytes) -> int:
        """Requests that had the prompt with this key (answers.prompt_key)."""
        return self._on_loop(lambda emulation: emulation.recorder.requests_of(key))

    def admissions(self) -> list[float]:
        """Seconds, since the start or the last reset, at which requests passed the quotas."""
        return self._on_loop(lambda emulation: list(emulation.recorder.all.times_s))

    def configure(self, **changes: Any) -> None:
        """Change options at once, by the names of EmulatorOptions. Raises ConfigurationError."""
        self._on_loop(lambda emulation: emulation.configure(changes))

    def reset(self) -> None:
        """Forget everything seen, quotas used too."""
        self._on_loop(lambda emulation: emulation.reset())

    def new_day(self) -> None:
        """Give the requests of the day back."""
        self._on_loop(lambda emulation: emulation.limiter.new_day())

    def _on_loop(self, ask: Callable[[Emulation], T]) -> T:
        emulation, loop = self._emulation, self._loop
        if emulation is None or loop is None:
            raise RuntimeError("start() comes first")

        async def asking() -> T:
            return ask(emulation)

        return asyncio.run_coroutine_threadsafe(asking(), loop).result(30)


def serve(
    options: EmulatorOptions,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    on_ready: Callable[[str], None] | None = None,
    exit_with: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the pipe whose reading end is `exit_with` ends: whoever held its
    other end is gone then. For the main thread; prints nothing.

    `on_ready` gets the URL once it listens. Port 0 takes a free one. Raises ConfigurationError where the
    address cannot be had.
    """
    emulation = Emulation(options)
    listener = listening(host, port)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        if exit_with is not None:
            loop.add_reader(exit_with, stop.set)  # nobody writes: readable is the end
        await _serving(emulation, listener, stop, lambda: on_ready(url_of(listener)) if on_ready else None)

    asyncio.run(main())


def listening(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ConfigurationError that names the address."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as exc:
        raise ConfigurationError(
            f"the emulator cannot listen on {host}:{port}: {exc}. Give another --port, or 0 for a free one"
        ) from exc


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


async def _serving(
    emulation: Emulation, listener: socket.socket, stop: asyncio.Event, ready: Callable[[], object]
) -> None:
    # handler_cancellation: a caller that leaves ends its call, so that in_flight says who really waits
    server = web.Server(App(emulation).handle, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, handle_signals=False)
    await runner.setup()
    site = web.SockSite(runner, listener, backlog=BACKLOG)
    await site.start()
    ready()
    await stop.wait()
    await site.stop()
    await server.shutdown(GRACE_S)
    await runner.cleanup()
