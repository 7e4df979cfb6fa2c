"""What the pages show, read from the job store: a page of jobs, a page of dead letters. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from batchq.client import Client
from batchq.core.job import JobRecord
from batchq.core.lifecycle import JobState
from batchq.core.records import DeadLetter
from batchq.errors import InputError
from batchq.flow.redrive import Choice
from batchq.store.job_record import NewerJob
from workers.flower.text import visible

JsonObject = dict[str, Any]
AnyJob = JobRecord | NewerJob

PAGE = 25
MOST = 200  # rows of one answer
DEEPEST = 10_000  # rows that may stand before a page; reading them again costs time
PATIENCE_S = 2.0  # of passing over rows, in one request


@dataclass(frozen=True, slots=True)
class Slice:
    """Which rows: `offset` is counted from the newest, among those that the filter takes."""

    offset: int = 0
    limit: int = PAGE

    def __post_init__(self) -> None:
        if self.offset < 0 or self.limit < 1:
            raise InputError("offset must be 0 or more and limit 1 or more")
        if self.limit > MOST or self.offset > DEEPEST:
            raise InputError(
                f"at most {MOST} rows at a time, and none behind the first {DEEPEST:,}: narrow the list down by "
                "its filters, or use `batchq list` and `batchq dlq export`"
            )


@dataclass(frozen=True, slots=True)
class Page:
    """`more`: rows follow. `cut`: the search took too long and was given up before the end of the store."""

    rows: list[JsonObject]
    offset: int
    more: bool
    cut: bool = False

    def to_json(self) -> JsonObject:
        return {"data": self.rows, "offset": self.offset, "more": self.more, "cut": self.cut}


class Reader:
    """Names of the store's readings that the pages need. Safe for threads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def jobs(self, which: Slice, *, state: str | None = None, row: Callable[[AnyJob], JsonObject]) -> Page:
        """Newest first; those of a newer batchq where no state is asked for. Raises InputError for a state that there is none of, StoreUnavailable."""
        wanted = _state(state)
        limit = which.limit + 1 if wanted is None else PAGE
        # without a filter the store skips for us; with one it must be looked at job by job
        start = which.offset if wanted is None else 0
        records = self._client.walk.jobs.every(offset=start, limit=limit)
        return _page(
            records,
            which,
            skip=which.offset - start,
            takes=lambda job: wanted is None or (isinstance(job, JobRecord) and job.state is wanted),
            row=row,
        )

    def dead_letters(
        self,
        which: Slice,
        *,
        job_id: str | None = None,
        reason: str | None = None,
        row: Callable[[DeadLetter], JsonObject],
    ) -> Page:
        """Newest job first, in input order there. Raises NotFound for a job that is not there, StoreUnavailable."""
        choice = Choice(reason=reason)
        letters = self._client.dead_letters(job_id)
        return _page(letters, which, skip=which.offset, takes=choice.takes, row=row)


def _page(
    found: Iterator[Any],
    which: Slice,
    *,
    skip: int,
    takes: Callable[[Any], bool],
    row: Callable[[Any], JsonObject],
) -> Page:
    rows: list[JsonObject] = []
    give_up = time.monotonic() + PATIENCE_S
    for one in found:
        taken = takes(one)
        if not taken or skip:
            skip -= taken
            if time.monotonic() > give_up:
                return Page(rows, which.offset, more=False, cut=True)
            continue
        if len(rows) == which.limit:
            return Page(rows, which.offset, more=True)
        rows.append(row(one))
    return Page(rows, which.offset, more=False)


def _state(name: str | None) -> JobState | None:
    if not name:
        return None
    try:
        return JobState(name)
    except ValueError:
        known = ", ".join(state for state in JobState if state is not JobState.RECEIVING)
        raise InputError(f"no job is ever {visible(name)!r}: the states are {known}") from None


# -- rows: of the pages, fit to be looked at ---------------------------------------------------------------------


def job_row(record: AnyJob) -> JsonObject:
    """A job in the table. `id` is exact, for links; every other text is made visible."""
    if isinstance(record, NewerJob):
        return {"id": record.id, "name": visible(record.id), "state": None, "reason": visible(record.why)}
    return {
        "id": record.id,
        "name": visible(record.id),
        "operation": visible(record.operation),
        "model": visible(record.model) if record.model else None,
        "state": str(record.state),
        "reason": visible(record.error or record.reason or "") or None,
        **record.counts,
        "settled": record.settled,
        "rate": round(record.rate, 3),
        "created_at": record.created_at,
        "finished_at": record.finished_at,
        "duration_s": record.duration_s,
        "cost_usd": record.cost_usd,
        "eta_s": record.eta,
    }


def letter_row(letter: DeadLetter) -> JsonObject:
    """A dead letter in the table. Its input stays where it is."""
    return {
        "job_id": letter.job_id,
        "job": visible(letter.job_id),
        "id": visible(letter.id),
        "index": letter.index,
        "operation": visible(letter.operation),
        "status": str(letter.status),
        "reason": visible(letter.reason),
        "code": letter.error.code,
        "error": visible(letter.error.message, 300),
        "attempts": letter.attempts,
    }


# -- rows: of the API, for programs ------------------------------------------------------------------------------


def job_document(record: AnyJob) -> JsonObject:
    """The job record's fields and its rate, without the slowest items, whose names are in the shards."""
    if isinstance(record, NewerJob):
        return {"id": record.id, "state": None, "error": record.why}
    document: JsonObject = {**record.to_json(), "rate": record.rate}
    document.pop("slowest")
    return document


def letter_document(letter: DeadLetter) -> JsonObject:
    """A dead letter without its input: prompts are not for dashboards."""
    document: JsonObject = letter.to_json()
    document.pop("input")
    return document
