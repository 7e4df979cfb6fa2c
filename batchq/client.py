"""The Python interface: submit jobs, watch them, read their results, review and redrive dead letters.

A Client never becomes the current Celery app of its process, opens nothing before its first call, and is safe in
threads and after a fork.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Unpack

from batchq import wiring
from batchq.collector import Collector
from batchq.core.forks import whole_before_fork
from batchq.core.job import JobRecord, JobStatus
from batchq.core.lifecycle import ENDED, HoldCause, ItemState, JobState
from batchq.core.records import DeadLetter, Item, Result
from batchq.errors import (
    Complaint,
    InputError,
    NotFound,
    StoreUnavailable,
    WaitTimeout,
)
from batchq.flow.cancel import cancel, delete
from batchq.flow.plan import Plan, plan
from batchq.flow.publish import result_of
from batchq.flow.quotas import Quotas
from batchq.flow.redrive import Choice, Filters, dead_letters, purge, redrive
from batchq.flow.status import completed, foreseen
from batchq.flow.submission import Accepted, Submission, SubmitOptions, check_arguments, submission_of
from batchq.flow.submit import submit
from batchq.flow.waiting import Lonely, Patience, whole_or_none
from batchq.flow.walk import Walk
from batchq.formats.given import Rows, given_items
from batchq.settings import Settings, load
from batchq.store.fleet import Beat
from batchq.wiring import Place

POLL_S = (0.05, 1.0)  # while waiting: short at first, for small jobs
PERSON = "person"


class Job:
    """A handle on one job. Making it reads nothing."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client, self.id = client, job_id

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def status(self) -> JobStatus:
        """The record as it is now. Raises NotFound."""
        return self._client.status(self.id)

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait for an end state: completed, failed or cancelled with nothing in flight. Raises WaitTimeout."""
        return self._client.wait(self.id, timeout)

    def results(self, *, wait: bool = False) -> Iterator[Result]:
        """Settled items in input order, streamed. With `wait` each as its turn settles, to the last."""
        return self._client.results(self.id, wait=wait)

    def cancel(self) -> None:
        """Nothing more goes out; what is in flight may still settle. Raises NotFound, Conflict (it has ended)."""
        self._client.cancel(self.id)

    def pause(self, why: str = "") -> None:
        """Send nothing more until resume(). Raises NotFound, Conflict (it has ended)."""
        self._client.pause(self.id, why)

    def resume(self, max_cost: float | None = None) -> None:
        """Lift every cause it is paused for; with `max_cost` its cost limit is that, USD, from now on."""
        self._client.resume(self.id, max_cost)


class Client:
    """batchq for other programs. `redis_url` None: BATCHQ_REDIS_URL, batchq.toml, or the embedded server that
    this user has running; "embedded" starts one."""

    def __init__(
        self, redis_url: str | None = None, *, settings: Settings | None = None, place: Place | None = None
    ) -> None:
        """Raises ConfigurationError when nothing says where the job store is."""
        self._place = place or wiring.locate(settings or load(redis_url=redis_url), start=False)
        self._walk: Walk | None = None
        self._pid = 0
        self._locks: dict[int, threading.Lock] = {}  # by process: a fork may copy a lock that is held

    @property
    def settings(self) -> Settings:
        """Those in force, with what operations of one's own say of themselves. Raises ConfigurationError."""
        return self.walk.settings

    @property
    def embedded(self) -> bool:
        """Whether the job store is the embedded server."""
        return self._place.embedded

    @property
    def walk(self) -> Walk:
        """The parts of this process; a forked child gets its own."""
        with self._lock, whole_before_fork:
            if self._walk is None or self._pid != os.getpid():
                self._walk, self._pid = wiring.build_walk(self._place.settings, slots=1), os.getpid()
            return self._walk

    @property
    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def submit(self, items: Rows, **options: Unpack[SubmitOptions]) -> Job:
        """Store a job and start it; the items are streamed, never held whole.

        An item is an `Item`, a dict (the batchq JSONL shape), an `(id, prompt)` pair or a prompt. The options are
        those of `SubmitOptions`: operation, model, prompt, schema, options, idempotency_key, job_id, priority, rpm,
        tpm, concurrency, max_cost, not_before, deadline, all_or_nothing, destination, webhook, metadata, retention_s, files, strict, skip_bad, preflight; `schema` is a JSON Schema or a Pydantic model.
        Repeating a call with its idempotency key gives the same job. Raises InputError, Conflict, NotEnoughMemory,
        StoreUnavailable, Fatal; nothing is stored then.
        """
        submission = submission_of(options, self._place.retention_ms)
        rows = given_items(items, options.get("prompt"))
        try:
            accepted = self.accept(submission, rows, preflight=options.get("preflight", True))
        except InputError as exc:
            raise exc.for_programs(SubmitOptions.__annotations__) from exc.__cause__
        return Job(self, accepted.job_id)

    def accept(
        self,
        submission: Submission,
        rows: Iterable[Item | Complaint],
        *,
        preflight: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> Accepted:
        """`submit` for callers that read the input themselves, and want to know which items failed already."""
        ask = wiring.preflight() if preflight else None
        if submission.retention_ms == 0:
            submission = replace(submission, retention_ms=self._place.retention_ms)
        return submit(self.walk, submission, rows, preflight=ask, progress=progress)

    def plan(self, items: Rows, **options: Unpack[SubmitOptions]) -> Plan:
        """What `submit` with the same arguments would make: requests, tokens, cost, time. Stores and asks nothing.

        Raises what submit raises.
        """
        try:
            return self.foresee(submission_of(options, 0), given_items(items, options.get("prompt")))
        except InputError as exc:
            raise exc.for_programs(SubmitOptions.__annotations__) from exc.__cause__

    def foresee(self, submission: Submission, rows: Iterable[Item | Complaint]) -> Plan:
        """`plan` for callers that read the input themselves."""
        return plan(self.walk, submission, rows)

    def collector(
        self,
        name: str,
        *,
        flush_items: int = 500,
        flush_after_s: float = 60,
        **options: Unpack[SubmitOptions],
    ) -> Collector[Job]:
        """Items added one by one, by any process, become a job at `flush_items`, or `flush_after_s` after the first.

        `options` are submit's, of each job; of callers that differ those of whoever added last hold. Raises
        InputError, ConfigurationError.
        """
        return Collector(
            self.walk, self.get, name, flush_items, flush_after_s, options, self._place.retention_ms
        )

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        self.walk.jobs.state(job_id)
        return Job(self, job_id)

    def list(self, state: str | JobState | None = None) -> Iterator[JobRecord]:
        """Jobs, newest first."""
        wanted = JobState(state) if state is not None else None
        return (record for record in self.walk.jobs.each() if wanted is None or record.state is wanted)

    def status(self, job_id: str) -> JobRecord:
        """The record, the slowest items by name. Raises NotFound, NewerData."""
        return completed(self.walk, self.walk.jobs.record(job_id))

    def pin(self, job_id: str, project: str) -> None:
        """Let only workers of this project ask the job's models: `run` does so for its own workers."""
        self.walk.jobs.pin(job_id, project)
        self.walk.specs.drop(job_id)

    def wait(
        self,
        job_id: str,
        timeout: float | None = None,
        watch: Callable[[JobRecord], bool] | None = None,
        away: Callable[[StoreUnavailable], None] | None = None,
    ) -> JobRecord:
        """Wait for the end. `watch` sees each record on the way and ends the waiting by answering True.

        While Redis is away it waits on; `away` hears of it at each try. Raises WaitTimeout, NotFound.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        pause = POLL_S[0]
        lonely = Lonely(self.walk, job_id)
        seen = False
        while True:
            try:
                record = self.walk.jobs.record(job_id)
                seen = True
                if record.state in ENDED and record.finished_at is not None:
                    return self.status(job_id)
                if watch is None:
                    lonely.look(record)
                elif watch(record := foreseen(self.walk, record)):
                    return record
            except NotFound:
                if not seen:
                    raise
                raise NotFound(
                    f"job {job_id} is lost: it was there, and is there no more. Somebody deleted it, or its server "
                    "came back without its data; what is lost is to be submitted again"
                ) from None
            except StoreUnavailable as exc:
                if give_up is not None and time.monotonic() > give_up:
                    raise
                if away is not None:
                    away(exc)
            else:
                if give_up is not None and time.monotonic() > give_up:
                    raise WaitTimeout(
                        f"job {job_id} did not end in {timeout:g} s: {record.settled} of {record.total} items are "
                        "settled; it goes on"
                    )
            time.sleep(pause)
            pause = min(POLL_S[1], pause * 1.5)

    def results(
        self,
        job_id: str,
        *,
        only: frozenset[ItemState] | None = None,
        wait: bool = False,
        stop: threading.Event | None = None,
    ) -> Iterator[Result]:
        """Settled items in input order; `only` of these states. Raises NotFound.

        Of a job that is all or nothing there are none before every item has succeeded: raises Conflict. With `wait`
        each as its turn settles, also when Redis is away meanwhile; `stop`, set by somebody, ends the waiting.
        """
        spec = self.walk.spec(job_id)
        patience = Patience(self.walk, job_id, stop or threading.Event()) if wait else None
        if spec.all_or_nothing:
            whole_or_none(self.walk, job_id, patience)
        for stored in self.walk.outcomes.results(job_id, lanes=len(spec.lanes), patience=patience):
            if stored.outcome is None or (only is not None and stored.state not in only):
                continue
            yield result_of(self.walk, spec, stored, stored.outcome)

    def cancel(self, job_id: str) -> bool:
        return cancel(self.walk, job_id, by=PERSON)

    def pause(self, job_id: str, why: str = "") -> bool:
        return self.walk.jobs.hold(job_id, HoldCause.PERSON, why or "paused by a person", PERSON)

    def resume(self, job_id: str, max_cost: float | None = None) -> bool:
        """Raises InputError for a `max_cost` that is spent already, or of a job submitted without one."""
        check_arguments({"max_cost": max_cost})
        changed = self.walk.jobs.unhold(job_id, None, PERSON, max_cost=max_cost)
        self.walk.dispatcher.send_dispatch(job_id)
        return changed

    def delete(self, job_id: str) -> None:
        """Remove every trace of an ended job. Raises NotFound, Conflict (it has not ended)."""
        delete(self.walk, job_id)

    def dead_letters(self, job_id: str | None = None, **filters: Unpack[Filters]) -> Iterator[DeadLetter]:
        """Items that did not succeed, newest job first. Filters, here and below: `reason` (the error's status),
        `error` (part of its text), `operation`, `ids`. Raises NotFound for a job that is named and not there."""
        return dead_letters(self.walk, Choice.of(job_id, filters))

    def redrive(self, job_id: str | None = None, *, by: str = PERSON, **filters: Unpack[Filters]) -> int:
        """Send dead letters back as pending items; finished jobs open again. Returns how many."""
        return redrive(self.walk, Choice.of(job_id, filters), by=by)

    def purge(self, job_id: str | None = None, **filters: Unpack[Filters]) -> int:
        """Set dead letters aside for good: they stay failed in counts and results, and leave the list. Returns
        how many."""
        return purge(self.walk, Choice.of(job_id, filters), by=PERSON)

    @property
    def quotas(self) -> Quotas:
        """How the fleet's quotas stand, and changing them while everything runs."""
        return Quotas(self.walk, lambda: wiring.own_project(self.settings))

    def fleet(self) -> Sequence[Beat]:
        """The worker processes that are alive."""
        return self.walk.fleet.alive(int(self.settings.lease_s * 1000))

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            if self._walk is not None:
                self._walk.jobs.close()
                self._walk.dispatcher.close()
                self._walk = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
