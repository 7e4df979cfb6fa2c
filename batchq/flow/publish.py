"""A job's results on their way to its destination: written aside, then swapped in, once in effect.

Whoever finishes the job writes. Should it die, another begins anew: what it left aside is never seen. Should it only
seem dead, or a redrive open the job again, it notices before the swap and gives up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from functools import partial

from batchq.core.discreet import trace_of
from batchq.core.lifecycle import JobState
from batchq.core.records import Outcome, Result
from batchq.errors import BatchqError, InputError
from batchq.flow.walk import Walk
from batchq.formats import url_destination, write
from batchq.store.job_record import JobSpec
from batchq.store.outcomes import StoredResult

log = logging.getLogger("batchq")

BEAT_S = 5.0  # between two words that the writer lives, and how far it is
GROWTH, LONGEST_WAIT_S = 3, 3_600


class Fenced(BatchqError):
    """Another writes the results, or the job is open again: what was written aside is not for anybody."""


class Fence:
    """The right to finish one generation of a job, renewed on a timer."""

    def __init__(self, walk: Walk, spec: JobSpec, owner: str, generation: int) -> None:
        self.owner, self.generation = owner, generation
        self._walk, self._spec = walk, spec

    def check(self) -> None:
        """Raises Fenced, StoreUnavailable."""
        if self._walk.jobs.finish_begin(self._spec.id, self.owner) != self.generation:
            raise Fenced("its results are written by another, or it is open again")
        if self._walk.jobs.state(self._spec.id) is JobState.CANCELLED:
            raise Fenced("it was cancelled while its results were written")


def publish(walk: Walk, spec: JobSpec, fence: Fence) -> str | None:
    """Write the results to the job's destination. "": they are there; else why they never will be; None: again later.

    Raises Fenced, StoreUnavailable.
    """
    assert spec.destination is not None
    try:
        destination = url_destination(spec.destination)
        with _Beating(walk, spec, fence) as progress:
            rows = _rows(walk, spec, fence, progress)
            done = write(rows, destination, schema=spec.schema, vectors=spec.has_vectors, mark=spec.id)
    except Fenced:
        raise
    except BatchqError as exc:
        return _not_written(walk, spec, str(exc), final=isinstance(exc, InputError))
    except Exception as exc:  # a driver's: what it says may quote anything
        log.error("job %s: its results could not be written: %s", spec.id, trace_of(exc))
        return _not_written(walk, spec, f"{type(exc).__name__}: see the worker's log", final=False)
    walk.publications.written(spec.id, done.count)
    log.info("job %s: %d results are written to its destination", spec.id, done.count)
    return ""


def _rows(walk: Walk, spec: JobSpec, fence: Fence, progress: _Beating) -> Iterator[Result]:
    for stored in walk.outcomes.results(spec.id, lanes=len(spec.lanes)):
        if stored.outcome is None or progress.lost:
            raise Fenced("it was opened again while its results were written")
        yield result_of(walk, spec, stored, stored.outcome)
        progress.count += 1
    fence.check()  # the swap comes next


def result_of(walk: Walk, spec: JobSpec, stored: StoredResult, outcome: Outcome) -> Result:
    """A settled item as users see it."""
    file = partial(walk.outcomes.file, spec.id)
    return Result(stored.id, stored.ordinal, spec.lanes[stored.lane].operation, outcome, file)


def _not_written(walk: Walk, spec: JobSpec, why: str, *, final: bool) -> str | None:
    settings, tries = walk.settings, walk.publications.of(spec.id).tries + 1
    if final or tries >= settings.destination_tries:
        walk.publications.failed(spec.id, tries, why, None)
        return f"its results could not be written to its destination: {why}"
    wait_s = min(settings.destination_wait_s * GROWTH ** (tries - 1), LONGEST_WAIT_S)
    walk.publications.failed(spec.id, tries, why, walk.jobs.server_ms() + int(wait_s * 1000))
    log.warning("job %s: its results are not written yet, again in %g s: %s", spec.id, wait_s, why)
    return None


class _Beating:
    """Says on a timer that the writer lives, and how many results it has taken."""

    def __init__(self, walk: Walk, spec: JobSpec, fence: Fence) -> None:
        self.count, self.lost = 0, False
        self._walk, self._spec, self._fence = walk, spec, fence
        self._ended = threading.Event()

    def __enter__(self) -> _Beating:
        self._walk.publications.writing(self._spec.id, 0)
        threading.Thread(target=self._run, name="batchq publishing beat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._fence.check()
                self._walk.publications.writing(self._spec.id, self.count)
            except Fenced:
                self.lost = True
                return
            except BatchqError:
                continue  # the store is away: the right ends by itself when that lasts
