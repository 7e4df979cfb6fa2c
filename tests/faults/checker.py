"""The verdict on a case: the promises of a job, held against records that the fault could not touch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchq.client import Job
from batchq.core.job import JobRecord
from batchq.core.lifecycle import ENDED, ItemState
from batchq.core.records import Result
from faults.figures import Figures

if TYPE_CHECKING:
    from faults.kit import Scene

SETTLED = re.compile(r'item ("(?:[^"\\]|\\.)*") of job (\S+): (succeeded|failed|dead_letter|cancelled) in')
WAIT_S = 300.0


def verdict(
    scene: Scene,
    job: Job,
    row: str,
    variant: str,
    *,
    wait_s: float = WAIT_S,
    ended: Mapping[str, str] | None = None,
    extra_calls: int | None = None,
    ends: int = 1,
    redone: int = 0,
) -> Figures:
    """Wait for the job's end and check it. Raises AssertionError with what is wrong.

    `ended` are the items that must not succeed, with the status of their error. `extra_calls`: how many calls may be
    repeated without an error before (None: as many as were in flight at the crashes). `ends`: how often the job ended
    (once more for each redrive). `redone`: items that were called and settled again with good reason: a
    redrive, a server that lost its last second.
    """
    job.wait(wait_s)
    for crash in scene.crashes:
        scene.recovered(crash)
    record = job.status()
    results = list(job.results())
    accepted = scene.accepted[job.id]
    lost, twice = _counted(accepted, results)
    settled = settles(scene.fleet.logs(), job.id)
    twice += sum(count - ends for count in settled.values() if count > ends)
    seen = scene.seen()
    seen.calls = Counter({id: n for id, n in seen.calls.items() if id in accepted})
    repeated = seen.repeated(record.retries + record.rate_limited + redone)
    in_flight = sum(crash.in_flight for crash in scene.crashes)
    recoveries = [crash.recovery_s for crash in scene.crashes if crash.recovery_s is not None]
    figures = Figures(
        row, variant, scene.pool, scene.seed, len(accepted), lost, max(0, twice - redone), repeated, in_flight,
        max(recoveries, default=None),
    )  # fmt: skip
    assert (lost, figures.twice) == (0, 0), f"{figures} {record}"
    _check_record(record, results, ends)
    _check_answers(accepted, results, ended or {})
    allowed = in_flight if extra_calls is None else extra_calls
    assert repeated <= allowed, f"{repeated} calls repeated, {allowed} may be: {seen.again()} {record}"
    assert record.repeated <= max(allowed, in_flight), record
    check_secrets(scene)
    return figures


def _counted(accepted: Mapping[str, Any], results: list[Result]) -> tuple[int, int]:
    """Accepted items without an outcome, outcomes beyond the first."""
    seen = Counter(result.id for result in results)
    assert set(seen) <= set(accepted), "an outcome of an item that nobody submitted"
    return len(set(accepted) - set(seen)), sum(count - 1 for count in seen.values())


def settles(logs: str, job_id: str) -> Counter[str]:
    """How often workers say that they settled each item of a job; a worker may die before it says so."""
    return Counter(json.loads(id) for id, job, _ in SETTLED.findall(logs) if job == job_id)


def _check_record(record: JobRecord, results: list[Result], ends: int) -> None:
    outcomes = Counter(result.status for result in results)
    counted = {
        ItemState.SUCCEEDED: record.succeeded,
        ItemState.FAILED: record.failed,
        ItemState.DEAD_LETTER: record.dead_letter,
        ItemState.CANCELLED: record.cancelled,
    }
    assert record.state in ENDED
    assert (record.pending, record.processing) == (0, 0)
    assert sum(counted.values()) == record.total == len(results), record
    assert {state: n for state, n in counted.items() if n} == dict(outcomes)
    assert record.finished_at is not None
    finishes = [one for one in record.history if one.change in ("completed", "ended", "failed")]
    assert len(finishes) == ends, record.history


def _check_answers(accepted: Mapping[str, Any], results: list[Result], ended: Mapping[str, str]) -> None:
    """Each item has its own answer, or the error that it must have."""
    for result in results:
        if result.status is ItemState.CANCELLED:
            continue
        said = result.error.status if result.error is not None else None
        assert said == ended.get(result.id), (result.id, result.error)
        if said is None:
            assert accepted[result.id] in (result.data, result.text), result.id


def check_secrets(scene: Scene) -> None:
    from faults.kit import KEY, SECRET

    logs = scene.fleet.logs()
    assert SECRET not in logs, "a prompt stands in a log"
    assert KEY not in logs, "the key stands in a log"
