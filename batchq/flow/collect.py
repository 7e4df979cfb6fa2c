"""Collectors: items that any process adds, durably, become a job when they are enough or have waited long enough.

A batch is cut by one script and has a number; its job's key is made of collector and number. So whoever makes the job,
and however often after a crash, it is one job, and each item is in one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any, cast

from batchq.core.records import Item
from batchq.errors import BatchqError, InputError
from batchq.flow.submission import JOB_ID, Submission, SubmitOptions, submission_of
from batchq.flow.submit import check, submit
from batchq.flow.walk import Walk
from batchq.formats import is_database
from batchq.formats.given import given_items
from batchq.store.collectors import Batch, NoBatch

log = logging.getLogger("batchq")

COLLECTORS_A_ROUND, BATCHES_A_ROUND = 20, 10  # of the sweeper, which has jobs to heal too
IDLE_MS = 60_000  # between looks at a collector in which nothing waits
FAILED_MS = 30_000  # until a batch that could not become a job is tried again
OF_A_JOB = ("idempotency_key", "job_id", "files", "prompt", "preflight", "retention_s")
ID_KEYS = ("id", "key", "custom_id")


def check_collector(
    walk: Walk, name: str, flush_items: int, flush_after_s: float, options: SubmitOptions, retention_ms: int
) -> str:
    """The options as they are kept with the items. Raises InputError for what no job could be made with."""
    if not isinstance(name, str) or not JOB_ID.fullmatch(name):
        raise InputError(
            "a collector's name is up to 128 letters, digits, '.', '_' and '-', no '.' or '-' first"
        )
    if not 1 <= flush_items <= 100_000:
        raise InputError(f"flush_items {flush_items} is not between 1 and 100,000")
    if flush_after_s <= 0:
        raise InputError(f"flush_after_s {flush_after_s:g} must be above 0")
    for taken in ("idempotency_key", "job_id", "files", "deadline"):
        if options.get(taken) is not None:
            raise InputError(f"a collector makes many jobs: leave {taken} out")
    submission = submission_of(options, retention_ms)
    check(walk, submission)
    if submission.destination is not None and not is_database(submission.destination):
        raise InputError(
            "a collector makes many jobs, and each would write over the file of the one before: name a database's "
            "table as destination, to which rows are added"
        )
    kept = {key: value for key, value in options.items() if key not in OF_A_JOB and value is not None}
    if submission.schema is not None:
        kept["schema"] = submission.schema
    kept["metadata"] = {**submission.metadata, "collector": name}
    return json.dumps({"options": kept, "retention_ms": submission.retention_ms}, sort_keys=True)


def item_to_keep(
    walk: Walk, given: Any, prompt: str | None, operation: str, model: str | None
) -> dict[str, Any]:
    """A row as it is kept. Raises InputError for what could not be sent: better now than in an hour."""
    named = not isinstance(given, str) and (
        not isinstance(given, Mapping) or any(key in given for key in ID_KEYS)
    )
    [row] = given_items([given], prompt)
    if not isinstance(row, Item):
        raise InputError(str(row))
    name = row.operation or operation
    found = walk.operation(name)
    problem = row.problem.message if row.problem is not None else None
    if "file" in row.input:
        problem = "a collector takes no files: a worker makes the job, and may not see them. Submit them"
    if problem is None:
        problem = found.check(row.input, model or walk.settings.operation(name).model or found.default_model)
    if problem is not None:
        raise InputError(f"item {row.id}: {problem}" if named else problem)
    identity = row.id if named else f"{walk.jobs.server_ms()}-{secrets.token_hex(6)}"
    return {"id": identity, "operation": row.operation, "input": dict(row.input)}


def add(
    walk: Walk, name: str, item: dict[str, Any], *, flush_items: int, flush_after_s: float, options: str
) -> int:
    """Store it; from now on it will be in a job. How many wait. Raises Conflict, StoreUnavailable."""
    digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:16]
    return walk.collectors.add(
        name, item, digest, flush_items=flush_items, flush_ms=int(flush_after_s * 1000), options=options
    )


def flush(walk: Walk, name: str) -> list[str]:
    """Make jobs of all that waits; their ids. A batch that another process is at is left to it."""
    jobs = []
    while isinstance(made := _next(walk, name, force=True), str):
        jobs.append(made)
    return jobs


def collect_due(walk: Walk) -> None:
    """The sweeper's part: jobs of what is enough, or has waited long enough."""
    for name in walk.collectors.due(COLLECTORS_A_ROUND):
        try:
            pause_ms = _collect(walk, name)
        except BatchqError as exc:
            log.warning("collector %s: %s: its batch is kept and tried again", name, type(exc).__name__)
            pause_ms = FAILED_MS
        walk.collectors.check_again(name, pause_ms)


def _collect(walk: Walk, name: str) -> int:
    for _ in range(BATCHES_A_ROUND):
        if walk.stopping:
            break
        made = _next(walk, name, force=False)
        if isinstance(made, NoBatch):
            return int(walk.settings.sweep_s * 1000) if made.busy else min(IDLE_MS, made.wait_ms or IDLE_MS)
    return 0


def _next(walk: Walk, name: str, *, force: bool) -> str | NoBatch:
    batch = walk.collectors.cut(name, secrets.token_hex(6), force=force)
    if isinstance(batch, NoBatch):
        return batch
    rows = [Item(one["id"], one["input"], one["operation"]) for one in batch.items]
    try:
        accepted = submit(walk, _submission(name, batch), rows)
    except BatchqError as exc:
        with contextlib.suppress(BatchqError):  # the store is away: it is left to whoever asks after a while
            walk.collectors.failed(name, str(exc))
        raise
    walk.collectors.done(name, batch)
    log.info("collector %s: batch %d is job %s", name, batch.number, accepted.job_id)
    return accepted.job_id


def _submission(name: str, batch: Batch) -> Submission:
    options = cast("SubmitOptions", dict(batch.options["options"]))
    options["idempotency_key"] = f"collector {name} {batch.number}"
    return submission_of(options, batch.options["retention_ms"])
