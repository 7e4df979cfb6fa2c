"""The Celery app of the workers: settings read, operations loaded, queues named, bootsteps added."""

from __future__ import annotations

import sys
import time

from kombu.utils import functional

from batchq import wiring
from batchq.dispatch import BatchqCelery, make_app
from batchq.errors import BatchqError
from batchq.settings import load
from batchq.wiring import Place
from workers.bootsteps import Heart
from workers.consumer import Orphans


def _wait_as_gevent_does() -> None:
    """Celery imports one function's `sleep` before gevent patches it: each wait for the broker would stop the hub,
    and with it every call, heartbeat and deadline of the process."""
    if "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched("time"):
        functional.sleep = time.sleep  # type: ignore[attr-defined]


def _begin() -> tuple[Place, BatchqCelery]:
    try:
        place = wiring.locate(load(), start=False)
        return place, make_app(place.settings, wiring.worker_queues(place.settings), current=True)
    except BatchqError as exc:
        if "celery.bin.celery" not in sys.modules:
            raise
        # Celery's command line would show it at the end of a traceback
        sys.stderr.write(f"batchq: {exc}\n")
        raise SystemExit(1) from None


_wait_as_gevent_does()
place, app = _begin()
app.conf.include = ["workers.tasks"]
app.conf.worker_consumer = "workers.consumer:GuardedConsumer"
app.steps["worker"].add(Heart)
app.steps["consumer"].add(Orphans)
