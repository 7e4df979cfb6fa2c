"""The Celery app of the workers: settings read, operations loaded, queues named, bootsteps added."""

from __future__ import annotations

import sys
import time

from kombu.utils import functional

from batchq.dispatch import make_app
from workers.bootsteps import Heart
from workers.consumer import Orphans
from workers.place import place, queues


def _wait_as_gevent_does() -> None:
    """Celery imports one function's `sleep` before gevent patches it: each wait for the broker would stop the hub,
    and with it every call, heartbeat and deadline of the process."""
    if "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched("time"):
        functional.sleep = time.sleep  # type: ignore[attr-defined]


_wait_as_gevent_does()
app = make_app(place.settings, queues, current=True)
app.conf.include = ["workers.tasks"]
app.conf.worker_consumer = "workers.consumer:GuardedConsumer"
app.steps["worker"].add(Heart)
app.steps["consumer"].add(Orphans)
