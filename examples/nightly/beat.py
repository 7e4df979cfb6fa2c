"""Celery's beat sends the night's submission. `celery -A beat beat`, once or on two machines: the key makes one job of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from celery.beat import PersistentScheduler, ScheduleEntry
from celery.schedules import crontab

app = Celery("nightly", broker=os.environ["BROKER"])
app.conf.timezone = "UTC"
app.conf.beat_schedule = {
    "questions": {
        "task": "batchq.submit",
        "schedule": crontab(hour=2, minute=0),
        "options": {"queue": "batchq.control"},
        "kwargs": {
            "source": os.environ.get("INPUT", "/srv/questions/tonight.csv"),
            "prompt": "Answer in one sentence: {question}",
            "destination": os.environ.get("OUT", "s3://answers/tonight.jsonl"),
            "all_or_nothing": True,
        },
    }
}


class Nightly(PersistentScheduler):
    """Names each sending after its night: entries of beat are the same every time."""

    def apply_async(self, entry: ScheduleEntry, *args: Any, **kwargs: Any) -> Any:
        entry.kwargs["idempotency_key"] = f"nightly-{datetime.now(UTC):%Y-%m-%d}"
        return super().apply_async(entry, *args, **kwargs)


app.conf.beat_scheduler = Nightly
