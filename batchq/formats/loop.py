"""A place for the asynchronous drivers of fsspec (s3, gs, az, http) to run in, also under gevent.

They run in an event loop in a thread of fsspec's own. Under gevent that is a greenlet among others in one thread of
the system, and asyncio notes by such threads which loop is running: fsspec would find its own running in whoever
calls, and refuse. So there it gets a loop that is not running while it waits, which is when other greenlets run.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

THREADS = 4  # for what blocks: names of hosts, certificates


def ready(asyn: Any) -> None:
    """Give `fsspec.asyn` such a loop under gevent, unless it has one. A forked child has none, and gets its own."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("selectors"):
        return
    with asyn.get_lock():
        if asyn.loop[0] is None:
            loop = asyncio.SelectorEventLoop(_selector())
            loop.set_default_executor(_executor())
            asyn.loop[0] = loop
            asyn.iothread[0] = threading.Thread(target=loop.run_forever, name="fsspecIO", daemon=True)
            asyn.iothread[0].start()


def _executor() -> ThreadPoolExecutor:
    """All its threads are there already: starting one lets other greenlets run in the midst of the loop."""
    executor, met = ThreadPoolExecutor(THREADS), threading.Barrier(THREADS)
    list(executor.map(lambda _: met.wait(), range(THREADS)))
    return executor


def _selector() -> selectors.BaseSelector:
    class Absent(selectors.DefaultSelector):  # gevent's, which is put in its place by the patch
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            loop = asyncio._get_running_loop()
            asyncio._set_running_loop(None)
            try:
                return super().select(timeout)
            finally:
                asyncio._set_running_loop(loop)

    return Absent()
