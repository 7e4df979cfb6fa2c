"""The tasks: unpack, call batchq, return little. Their names and arguments are fixed: other services send them."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from celery.exceptions import Reject

from batchq import dispatch, wiring
from batchq.errors import BatchqError
from batchq.flow.advance import advance
from batchq.flow.cancel import cancel
from batchq.flow.letters import redrive_letter
from batchq.flow.pack import process_pack
from batchq.flow.patience import GaveUp
from batchq.flow.process import process_item
from batchq.flow.submit_message import submit_message
from batchq.flow.task import ItemMessage, PackMessage
from workers import life
from workers.app import app
from workers.place import place
from workers.shown import ShownTask

log = logging.getLogger("batchq")


class Again(Exception):
    """An item waits for a Celery retry of its message. Carries plain values, so that it pickles."""

    def __init__(self, ticket: int, delay_ms: int, positions: tuple[int, ...] = ()) -> None:
        super().__init__(ticket, delay_ms, positions)
        self.ticket, self.delay_ms, self.positions = ticket, delay_ms, positions

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
        place = exc.positions or position
        again: dict[str, Any] = {
            "args": (job_id, lane, place, exc.ticket),
            "kwargs": {},
            "countdown": exc.delay_ms / 1000,
            "max_retries": None,
            "argsrepr": dispatch.item_argsrepr(job_id, place),
            "kwargsrepr": "{}",
        }
        return super().retry(exc=exc, **again)


@app.task(name=dispatch.PROCESS_ITEM, base=ItemTask, ignore_result=True)
def run_item(job_id: str, lane: int, position: int | list[int], ticket: int) -> None:
    """A header task of a wave: one item, or the positions of a pack. Raises nothing but Celery's Retry, which keeps its place in the chord."""
    mine = life.current()
    with mine.at_an_item:
        if isinstance(position, list):
            again = process_pack(PackMessage(job_id, lane, tuple(position), ticket), mine.walk)
        else:
            again = process_item(ItemMessage(job_id, lane, position, ticket), mine.walk)
    if again is not None:
        raise Again(again.ticket, again.delay_ms, again.positions)


@app.task(name=dispatch.COMPLETE_WAVE, base=ShownTask, ignore_result=True)
def complete_wave(job_id: str, wave: int, items: int) -> None:
    """The chord's body: the wave is through. Running it twice or never is harmless."""
    log.info("job %s: wave %d is through, %d items", job_id, wave, items)
    _advance(job_id)


@app.task(name=dispatch.DISPATCH, base=ShownTask, ignore_result=True)
def advance_job(job_id: str) -> None:
    """Send out what there is room for."""
    _advance(job_id)


def _advance(job_id: str) -> None:
    try:
        advance(life.current().walk, job_id)
    except BatchqError as exc:
        log.warning("job %s: %s (the sweeper will go on with it)", job_id, exc)


@app.task(name=dispatch.SUBMIT, base=ShownTask, bind=True, throws=(BatchqError,))
def submit_job(task: ShownTask, /, items: Any = None, **payload: Any) -> str:
    """A submission from any program; its result is the job's id. A bad one fails with what is wrong with it."""
    try:
        job_id = submit_message(
            life.current().walk,
            {"items": items, **payload},
            task_id=str(task.request.id),
            retention_ms=place.retention_ms,
            preflight=wiring.preflight(),
        )
    except GaveUp as exc:
        raise Reject(exc, requeue=True) from None  # another worker's
    except BatchqError as exc:  # its message is for the sender: it may quote what was sent
        log.warning("submission %s is refused: %s", task.request.id, type(exc).__name__)
        raise
    log.info("job %s: submitted by message %s", job_id, task.request.id)
    return job_id


@app.task(name=dispatch.CANCEL, base=ShownTask, throws=(BatchqError,))
def cancel_job(job_id: Any = None) -> bool:
    """Cancel a job; False: it was already. Fails when there is none, or it has ended."""
    return cancel(life.current().walk, job_id, by="message")


@app.task(name=dispatch.REDRIVE, ignore_result=True, send_events=False)
def redrive_item(job_id: str, index: int) -> None:
    """A dead letter, by its place in the input. Only a worker whose -Q names the queue sees it: it redrives."""
    try:
        redrive_letter(life.current().walk, job_id, index)
    except GaveUp as exc:
        raise Reject(exc, requeue=True) from None
