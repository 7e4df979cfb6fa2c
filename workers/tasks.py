"""The tasks: unpack, call batchq, return nothing. What they are called and carry is in docs/contract."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task

from batchq import dispatch
from batchq.flow.advance import advance
from batchq.flow.process import ItemMessage, process_item
from workers import life
from workers.app import app
from workers.shown import ShownTask

log = logging.getLogger("batchq")


class Again(Exception):
    """An item waits for a Celery retry of its message. Carries plain values, so that it pickles."""

    def __init__(self, ticket: int, delay_ms: int) -> None:
        super().__init__(ticket, delay_ms)
        self.ticket, self.delay_ms = ticket, delay_ms

    def __str__(self) -> str:
        return f"item waits for its retry (ticket {self.ticket})"


class ItemTask(Task):  # type: ignore[type-arg]
    """Celery's autoretry, with the ticket and the wait that the store gave.

    The stock one would send the old ticket again, draw its own countdown and end the chord after max_retries.
    """

    autoretry_for = (Again,)
    max_retries = None
    retry_backoff = False
    send_events = False  # three messages an item would cost more than the item

    def retry(self, *_: Any, exc: Any = None, **__: Any) -> Any:
        job_id, lane, position, _ticket = self.request.args or ()
        again: dict[str, Any] = {
            "args": (job_id, lane, position, exc.ticket),
            "kwargs": {},
            "countdown": exc.delay_ms / 1000,
            "max_retries": None,
            "argsrepr": f"({job_id!r}, {position})",
            "kwargsrepr": "{}",
        }
        return super().retry(exc=exc, **again)


@app.task(name=dispatch.PROCESS_ITEM, base=ItemTask, ignore_result=True)
def run_item(job_id: str, lane: int, position: int, ticket: int) -> None:
    """A header task of a wave: one item. Raises nothing but Celery's Retry, which keeps its place in the chord."""
    again = process_item(ItemMessage(job_id, lane, position, ticket), life.current().walk)
    if again is not None:
        raise Again(again.ticket, again.delay_ms)


@app.task(name=dispatch.COMPLETE_WAVE, base=ShownTask, ignore_result=True)
def complete_wave(job_id: str, wave: int, items: int) -> None:
    """The chord's body: the wave is through. Running it twice or never is harmless."""
    log.info("job %s: wave %d is through, %d items", job_id, wave, items)
    advance(life.current().walk, job_id)


@app.task(name=dispatch.DISPATCH, base=ShownTask, ignore_result=True)
def advance_job(job_id: str) -> None:
    """Send out what there is room for."""
    advance(life.current().walk, job_id)
