"""The Celery app of the workers: settings read, operations loaded, queues named, bootsteps added."""

from __future__ import annotations

from batchq import wiring
from batchq.dispatch import make_app
from batchq.settings import load
from workers.bootsteps import Heart
from workers.consumer import Orphans

place = wiring.locate(load(), start=False)
app = make_app(place.settings, wiring.worker_queues(place.settings), current=True)
app.conf.include = ["workers.tasks"]
app.conf.worker_consumer = "workers.consumer:GuardedConsumer"
app.steps["worker"].add(Heart)
app.steps["consumer"].add(Orphans)
