"""A submission becomes a job: read as a stream, checked, stored in shards, sealed, and only then seen.

What breaks off runs nothing and is swept away. Memory stays flat: one shard a lane.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Literal

from batchq.core.records import Item
from batchq.errors import BatchqError, Complaint, Conflict, InputError
from batchq.flow.shard_writer import ShardWriter
from batchq.flow.submission import JOB_ID, Accepted, Submission
from batchq.flow.walk import Walk
from batchq.formats import masked, url_destination
from batchq.store.job_record import NANO

BEAT_S = 5.0
STALE_MS = 30_000  # a submitter silent for so long is dead
BUSY_WAIT_S = 40.0  # for another submission with the same key
MOST_USD = 1e9
LAST_TIME = 253_402_300_800.0  # the year 10,000, which no calendar shows


def submit(
    walk: Walk,
    submission: Submission,
    rows: Iterable[Item | Complaint],
    *,
    preflight: Callable[[str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Accepted:
    """Store a job and have it dispatched; idempotent under its key.

    `preflight(model)` is asked once for each model before anything of it is sealed; `progress(n)` hears of the
    items stored so far. Raises InputError, ConfigurationError, Conflict, NotEnoughMemory, StoreUnavailable,
    and what preflight raises; nothing is left behind then.
    """
    check(walk, submission)
    job_id = _job_id(walk, submission)
    nonce = secrets.token_hex(8)
    begun = _begin(walk, submission, job_id, nonce)
    new = ShardWriter(walk, submission, job_id, nonce, preflight, store=begun == "new")
    with contextlib.closing(new) as writer:
        if begun == "exists":
            return _same(walk, writer, rows, job_id)
        try:
            with _Beating(walk, job_id, nonce):
                pour(writer, rows, progress)
                lanes = writer.finish()
                why = f"{writer.total} items" + (f" of {submission.source}" if submission.source else "")
                walk.submissions.seal(job_id, nonce, writer.total, writer.digest(), lanes, why)
        except BaseException:
            _clean_up(walk, job_id, nonce)
            raise
    # After the seal this may fail: the job is accepted, and the sweeper finds it.
    with contextlib.suppress(BatchqError):
        walk.dispatcher.send_dispatch(job_id)
    return Accepted(job_id, writer.total, writer.failed, tuple(writer.problems), existed=False)


def check(walk: Walk, submission: Submission) -> None:
    """What a submission says of itself. Raises InputError, ConfigurationError."""
    if not 1 <= submission.priority <= 10:
        raise InputError(f"priority {submission.priority} is not between 1 and 10")
    for name in ("rpm", "tpm", "concurrency"):
        value = getattr(submission, name)
        if value is not None and value < 1:
            raise InputError(f"{name} {value} must be at least 1")
    if submission.max_cost is not None and not 0 < submission.max_cost < MOST_USD:
        raise InputError(f"max_cost {submission.max_cost:g} must be above 0 and below a billion, in USD")
    for what, at in (
        ("time at which the job may begin", submission.not_before),
        ("deadline", submission.deadline),
    ):
        if at is not None and not at < LAST_TIME:
            raise InputError(
                f"the {what} is after the year 9999: times are in seconds since 1970, not in milliseconds"
            )
    if submission.deadline is not None and submission.deadline <= time.time():
        raise InputError("the deadline has passed already: give a later one")
    if submission.deadline is not None and submission.deadline <= (submission.not_before or 0):
        raise InputError("the deadline is before the time at which the job may begin: give a later one")
    if submission.job_id is not None and submission.idempotency_key is not None:
        raise InputError("give a job id or an idempotency key, not both")
    if submission.job_id is not None and not JOB_ID.fullmatch(submission.job_id):
        raise InputError(
            f"job id {submission.job_id[:40]!r}: use up to 128 letters, digits, '.', '_' and '-', no '.' or '-' first"
        )
    _check_webhook(walk, submission.webhook)
    if submission.destination is not None:
        url_destination(submission.destination)
    problem = walk.operation(submission.operation).check_job(submission.options, submission.schema)
    if problem is not None:
        raise InputError(problem)


def _check_webhook(walk: Walk, url: str | None) -> None:
    if url is None:
        return
    from batchq.webhooks import problem_of  # loads HTTP

    problem = problem_of(url, loopback=walk.settings.webhook_loopback)
    if problem is not None:
        raise InputError(f"the webhook's address is refused: {problem}")


def _job_id(walk: Walk, submission: Submission) -> str:
    """Derived from the idempotency key where there is one: the record itself is the key."""
    if submission.job_id is not None:
        return submission.job_id
    if submission.idempotency_key is not None:
        text = f"{walk.settings.namespace}\n{submission.idempotency_key}"
        return f"key-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)


def _begin(walk: Walk, submission: Submission, job_id: str, nonce: str) -> Literal["new", "exists"]:
    """Open the job, waiting for another submission with the same key to end or to be given up."""
    give_up = time.monotonic() + BUSY_WAIT_S
    while True:
        begun = walk.submissions.begin(job_id, nonce, _fields(walk, submission), STALE_MS)
        if begun in ("new", "taken_over"):
            return "new"
        if begun == "exists":
            return "exists"
        if time.monotonic() > give_up:
            raise Conflict(
                f"job {job_id} is being submitted by somebody else: wait for that, or use another key"
            )
        time.sleep(0.5)


def _fields(walk: Walk, submission: Submission) -> dict[str, str | int]:
    fields: dict[str, str | int] = {
        "operation": submission.operation,
        "model": submission.model or "",
        "options": json.dumps(submission.options),
        "metadata": json.dumps(
            {**submission.metadata, **({"source": submission.source} if submission.source else {})}
        ),
        "priority": submission.priority,
        "retention_ms": submission.retention_ms,
    }
    if submission.run is not None:
        fields["run"] = submission.run
    if submission.project is not None:
        fields["project"] = submission.project
    if submission.schema is not None:
        fields["schema"] = json.dumps(submission.schema)
    elif (own := walk.operation(submission.operation).default_schema) is not None:
        # so that tables of results know its fields; answers of the job's other operations need not fit it
        fields["schema"], fields["schema_of"] = json.dumps(own), submission.operation
    if submission.rpm is not None:
        fields["rpm"] = submission.rpm
    if submission.tpm is not None:
        fields["tpm"] = submission.tpm
    if submission.concurrency is not None:
        fields["concurrency"] = submission.concurrency
    if submission.all_or_nothing:
        fields["all_or_nothing"] = "1"
    if submission.destination is not None:
        fields["out"], fields["out_shown"] = submission.destination, masked(submission.destination)
    if submission.webhook is not None:
        fields["webhook"] = submission.webhook
    if submission.max_cost is not None:
        fields["max_nano"] = round(submission.max_cost * NANO)
    if submission.not_before is not None:
        fields["not_before"] = int(submission.not_before * 1000)
    if submission.deadline is not None:
        fields["deadline"] = int(submission.deadline * 1000)
    return fields


def pour(
    writer: ShardWriter, rows: Iterable[Item | Complaint], progress: Callable[[int], None] | None
) -> None:
    """Everything is read even when the list is broken, so that all of its faults are told at once."""
    broken: list[Complaint] = []
    count = 0
    for row in rows:
        if isinstance(row, Complaint):
            complaint: Complaint | None = row
        else:
            complaint = writer.add(row) if not broken else writer.fault(row)
        if complaint is not None:
            if writer.submission.skip_bad:
                writer.add_bad_line(complaint)
                continue
            count += 1
            if len(broken) < InputError.shown:
                broken.append(complaint)
        elif progress is not None and writer.total % 100 == 0:
            progress(writer.total)
    if broken:
        raise InputError(
            "the input cannot become a job; nothing was stored. Correct it, or use --skip-bad", broken, count
        )
    if writer.total == 0:
        raise InputError("the input holds no item; nothing was stored")
    if writer.submission.strict and writer.failed:
        raise InputError(
            "some items cannot be sent and --strict is set; nothing was stored",
            writer.problems,
            writer.failed,
        )


def _same(walk: Walk, writer: ShardWriter, rows: Iterable[Item | Complaint], job_id: str) -> Accepted:
    """A repeated submission: read without writing, then compare."""
    pour(writer, rows, None)
    writer.finish()
    record = walk.jobs.record(job_id)
    if walk.jobs.digest(job_id) != writer.digest():
        raise Conflict(
            f"job {job_id} was submitted before with other content or options: use another key, or `batchq delete` it"
        )
    return Accepted(job_id, record.total, writer.failed, tuple(writer.problems), existed=True)


def _clean_up(walk: Walk, job_id: str, nonce: str) -> None:
    try:
        walk.submissions.abandon(job_id, nonce)
    except BatchqError:
        return  # the store is away; the sweeper drops what is there


class _Beating:
    """Says on a timer that the submitter lives, however slowly its input comes."""

    def __init__(self, walk: Walk, job_id: str, nonce: str) -> None:
        self._walk, self._job_id, self._nonce = walk, job_id, nonce
        self._ended = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._run, name="batchq submission", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                if not self._walk.submissions.beat(self._job_id, self._nonce):
                    return
            except BatchqError:
                continue
