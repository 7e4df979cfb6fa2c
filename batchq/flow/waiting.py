"""Waiting for a job: for its next result, for all of them, and what to tell who waits alone."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

from batchq.core.job import JobRecord
from batchq.core.lifecycle import ENDED, JobState
from batchq.core.wording import no_worker
from batchq.errors import Conflict, NoWorkerWarning
from batchq.flow.patience import patiently
from batchq.flow.status import unserved_queues
from batchq.flow.walk import Walk

Value = TypeVar("Value")

LONELY_S = 2.0  # of waiting before a look at who consumes the queues


class Lonely:
    """Warns a waiting program, once, that nobody is there to do the work."""

    def __init__(self, walk: Walk, job_id: str) -> None:
        self._walk, self._job_id = walk, job_id
        self._told = False
        self._next = time.monotonic() + LONELY_S

    def look(self, record: JobRecord) -> None:
        """Raises StoreUnavailable."""
        if self._told or time.monotonic() < self._next or record.state is JobState.PAUSED:
            return
        self._next = time.monotonic() + LONELY_S
        missing = unserved_queues(self._walk, self._job_id)
        if missing:
            self._told = True
            warnings.warn(f"job {self._job_id} waits: {no_worker(missing)}", NoWorkerWarning, stacklevel=2)


def whole_or_none(walk: Walk, job_id: str, patience: Patience | None) -> None:
    """Raises Conflict while an all-or-nothing job has no results to show; with `patience` its end is waited for."""
    while patience is not None and patience.pause():
        pass
    record = walk.jobs.record(job_id)
    if record.state is JobState.COMPLETED:
        return
    if record.state is JobState.FAILED and record.succeeded == record.total:
        return  # only its destination refused them
    if record.state in ENDED:
        raise Conflict(
            f"job {job_id} is {record.state} and all or nothing: {record.total - record.succeeded:,} of "
            f"{record.total:,} items did not succeed, so there are no results. `batchq dlq list {job_id}` shows which, "
            f"`batchq dlq redrive {job_id}` sends them again"
        )
    raise Conflict(
        f"job {job_id} is all or nothing and {record.state}: its results are there when every item succeeded"
    )


class Patience:
    """Of who reads a job's results while it runs; `stop`, set by somebody, ends it with GaveUp or at the next pause."""

    def __init__(self, walk: Walk, job_id: str, stop: threading.Event) -> None:
        self._walk, self._job_id, self._stop = walk, job_id, stop
        self._lonely = Lonely(walk, job_id)

    def read(self, what: Callable[[], Value], /) -> Value:
        """Its answer, however long Redis is away."""
        return patiently(what, self._stop.is_set)

    def pause(self) -> bool:
        """Wait a moment; False when nothing more can come."""
        return self.read(self._may_come) and not self._stop.wait(0.2)

    def _may_come(self) -> bool:
        record = self._walk.jobs.record(self._job_id)
        if record.state in ENDED and record.finished_at is not None:
            return False
        self._lonely.look(record)
        return True
