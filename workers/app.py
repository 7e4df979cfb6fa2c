"""The Celery app of the workers: settings read, operations loaded, queues named, bootsteps added."""

from __future__ import annotations

import sys
import time

from celery.signals import after_setup_logger, after_setup_task_logger
from kombu.utils import functional

from batchq.dispatch import make_app
from workers.bootsteps import Heart
from workers.consumer import Orphans
from workers.logs import tidy
from workers.place import place, queues


def _wait_as_gevent_does() -> None:
    """Celery imports one function's `sleep` before gevent patches it: each wait for the broker would stop the hub,
    and with it every call, heartbeat and deadline of the process."""
    if "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched("time"):
        functional.sleep = time.sleep  # type: ignore[attr-defined]


LONGEST_WAIT_S = 0.25  # for messages, between two looks at whether the worker is told to stop

_wait_as_gevent_does()
for signal in (after_setup_logger, after_setup_task_logger):
    signal.connect(tidy)
app = make_app(place.settings, queues, current=True)
app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "longest_wait_s": LONGEST_WAIT_S,
}
app.conf.include = ["workers.tasks"]
app.conf.worker_consumer = "workers.consumer:GuardedConsumer"
app.steps["worker"].add(Heart)
app.steps["consumer"].add(Orphans)
