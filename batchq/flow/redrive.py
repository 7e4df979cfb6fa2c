"""Dead letters: list them, send them back as pending items, or set them aside for good."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypedDict

from batchq.core.lifecycle import DEAD_LETTERS
from batchq.core.records import DeadLetter, ErrorInfo
from batchq.core.wording import count
from batchq.errors import Conflict, NotFound
from batchq.flow.walk import Walk
from batchq.store.job_record import JobSpec
from batchq.store.leases import RedriveRequest
from batchq.store.outcomes import StoredResult

SLICE = 1_000  # items of one call to the store
UNKNOWN = ErrorInfo(0, "UNKNOWN", "no error was stored")


class Filters(TypedDict, total=False):
    """Which dead letters; what is None or left out: whichever."""

    reason: str | None  # the error's status, such as SCHEMA_MISMATCH
    error: str | None  # part of the error's message
    operation: str | None
    ids: Iterable[str] | None  # of items


@dataclass(frozen=True, slots=True)
class Choice:
    """Filters, of one job's letters or (None) of all jobs'."""

    job_id: str | None = None
    reason: str | None = None
    error: str | None = None
    operation: str | None = None
    ids: frozenset[str] | None = None

    @classmethod
    def of(cls, job_id: str | None, filters: Filters) -> Choice:
        """Raises TypeError for a filter that there is none of."""
        given: dict[str, Any] = {**filters}
        ids = given.pop("ids", None)
        return cls(job_id, ids=None if ids is None else frozenset(ids), **given)

    def takes(self, letter: DeadLetter) -> bool:
        return (
            (self.reason is None or letter.reason == self.reason.upper())
            and (self.error is None or self.error.lower() in letter.error.message.lower())
            and (self.operation is None or letter.operation == self.operation)
            and (self.ids is None or letter.id in self.ids)
        )


def dead_letters(walk: Walk, choice: Choice) -> Iterator[DeadLetter]:
    """Streamed, a shard at a time. Raises NotFound for a job that is named and not there."""
    for spec in _jobs(walk, choice):
        for _, letter in _letters(walk, spec, choice):
            yield letter


def redrive(walk: Walk, choice: Choice, *, by: str) -> int:
    """Send dead letters back as pending items; a finished job opens again. Returns how many were.

    What was refused before any call (an empty prompt, an unreadable file) stays: it would be refused again.
    Raises NotFound, and Conflict for a named job that was cancelled.
    """
    total = 0
    for spec in _jobs(walk, choice):
        try:
            total += _redrive_job(walk, spec, choice, by)
        except Conflict:
            if choice.job_id is not None:
                raise
    return total


def _redrive_job(walk: Walk, spec: JobSpec, choice: Choice, by: str) -> int:
    done, first = 0, True
    pending: dict[int, list[RedriveRequest]] = {}

    def flush(lane: int) -> None:
        nonlocal done, first
        items = pending.pop(lane, [])
        if items:
            change = json.dumps(
                {"change": f"redrive of {count(len(items), 'item')}", "by": by, "why": choice.reason or ""}
            )
            done += walk.items.redrive(
                spec.id, lane, items, first=first, change=change[1:-1], lanes=len(spec.lanes)
            )
            first = False

    for stored, letter in _letters(walk, spec, choice):
        if letter.refused_before_any_call:
            continue  # nothing there can be sent: the input has to be corrected and submitted again
        lane = pending.setdefault(stored.lane, [])
        lane.append(stored.redrive())
        if len(lane) >= SLICE:
            flush(stored.lane)
    for lane_no in list(pending):
        flush(lane_no)
    if done:
        walk.specs.drop(spec.id)
        walk.jobs.wake(spec.id)
        walk.dispatcher.send_dispatch(spec.id)
    return done


def purge(walk: Walk, choice: Choice, *, by: str) -> int:
    """Take dead letters off the list for good: they stay failed in the counts and results. Returns how many."""
    total = 0
    for spec in _jobs(walk, choice):
        positions = (stored.position for stored, _ in _letters(walk, spec, choice))
        done = 0
        while some := list(islice(positions, SLICE)):
            walk.outcomes.purge(spec.id, some)
            done += len(some)
        if done:
            walk.jobs.note(spec.id, f"purge of {done} dead letters", by)
        total += done
    return total


def _jobs(walk: Walk, choice: Choice) -> Iterator[JobSpec]:
    if choice.job_id is not None:
        yield walk.spec(choice.job_id)
        return
    for record in walk.jobs.each():
        if record.failed or record.dead_letter:
            try:
                yield walk.spec(record.id)
            except NotFound:
                continue


def _letters(walk: Walk, spec: JobSpec, choice: Choice) -> Iterator[tuple[StoredResult, DeadLetter]]:
    for stored in walk.outcomes.dead(spec.id):
        if stored.outcome is None or stored.state not in DEAD_LETTERS:
            continue
        letter = DeadLetter(
            job_id=spec.id,
            id=stored.id,
            index=stored.ordinal,
            operation=spec.lanes[stored.lane].operation,
            status=stored.state,
            error=stored.outcome.error or UNKNOWN,
            attempts=stored.outcome.attempts,
            history=stored.outcome.history,
            input=dict(stored.input),
        )
        if choice.takes(letter):
            yield stored, letter
