"""`batchq run`, step by step: where, with what, the job, its progress, its results, its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from batchq.cli import ending, opening, say
from batchq.cli.beside import (
    Around,
    begin_the_end,
    beside,
    delete_uploads,
    local_queues,
    start_workers,
    tell_of_others,
)
from batchq.cli.following import exit_code, follow, tell_report
from batchq.cli.options import JobOptions
from batchq.cli.progress import progress
from batchq.cli.submitting import STDIN, files_mode, open_input, tell_accepted, tell_input
from batchq.core.lifecycle import ENDED, JobState
from batchq.core.wording import count, money, no_worker
from batchq.errors import Conflict, InputError

if TYPE_CHECKING:
    from batchq.client import Client
    from batchq.core.job import JobRecord
    from batchq.flow.submission import Accepted
    from batchq.formats import Destination, Reading
    from batchq.wiring import Place

BASE_URL = "GOOGLE_GEMINI_BASE_URL"
PROJECT = "BATCHQ_PROJECT"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the command line asks for. `source` None: only with `resume`, which reads no input."""

    source: str | None
    asked: JobOptions
    out: str | None
    form: str | None
    workers: int | None  # None: 1 on the embedded server, 0 on a configured one
    new: bool
    resume: str | None
    as_json: bool


def run(request: RunRequest) -> int:
    """All of it; the exit code. Raises BatchqError with nothing left running."""
    loaded = opening.settings()
    opening.check_operation(request.asked.operation, loaded)
    destination = _destination(request, request.resume or "JOB")  # found wanting before anything is begun
    reading = open_input(request.asked, request.source, loaded) if request.source is not None else None
    try:
        found = opening.place()
        opening.tell_place(found)
        if reading is not None:
            tell_input(reading)
        with _client(found) as client, beside(client) as around:
            if request.resume is not None:
                client.get(request.resume)  # before anything is started for it
            workers = _worker_count(request, found)
            project = _give_provider(request, reading, around, workers, found)
            job_id = _job(request, client, found, reading, around, workers, project)
            if project is not None:
                client.pin(job_id, project)
            if request.out is None:
                destination = _destination(request, job_id)
            return _to_the_end(request, client, found, around, workers, job_id, project, destination)
    finally:
        if reading is not None:
            reading.close()


# -- before the job -----------------------------------------------------------------------------------------


def _destination(request: RunRequest, job_id: str) -> Destination:
    from batchq.formats import check_destination

    out = request.out or f"batchq-out/{job_id}.{request.form or 'jsonl'}"
    return check_destination(out, request.form)


@contextmanager
def _client(found: Place) -> Iterator[Client]:
    from batchq.client import Client

    with Client(place=found) as client:
        yield client


def _worker_count(request: RunRequest, found: Place) -> int:
    if request.workers is not None:
        return request.workers
    return 1 if found.embedded else 0


def _give_provider(
    request: RunRequest, reading: Reading | None, around: Around, workers: int, found: Place
) -> str | None:
    """Say which Gemini the local workers will ask; without a key start the emulator for them.

    Returns the project whose workers alone may run the job: runs beside each other may have different keys, or
    none. None: any worker may, since this run brings none, or asks no model.
    """
    from batchq import wiring
    from batchq.local import LocalEmulator
    from batchq.operations import registry
    from batchq.store.job_record import RUN_EMULATOR

    if not workers:
        return None
    if wiring.has_provider():
        from batchq.providers.gemini import GeminiConfig

        say.note(f"provider: {GeminiConfig.from_env(os.environ).where}")
        return wiring.own_project(found.settings)
    only_own = reading is not None and reading.format != "batchq"  # its lines name no operation of their own
    if only_own and not registry.get(request.asked.operation).needs_provider:
        return None
    around.emulator = LocalEmulator(os.environ)
    os.environ[BASE_URL] = around.emulator.url
    os.environ[PROJECT] = RUN_EMULATOR
    say.note(
        f"provider: the local emulator at {around.emulator.url}, whose answers are made up: "
        "set GEMINI_API_KEY for real ones"
    )
    return RUN_EMULATOR


# -- the job ------------------------------------------------------------------------------------------------


def _job(
    request: RunRequest,
    client: Client,
    found: Place,
    reading: Reading | None,
    around: Around,
    workers: int,
    project: str | None,
) -> str:
    """The id of the job to follow: one that goes on, or a new one."""
    if found.embedded:
        around.roots += _folders_of_open_jobs(client)
    if request.resume is not None:
        if workers:
            _check_files(client, found, around, request.resume)
        return _go_on(client, request.resume, request.asked.max_cost)
    assert reading is not None
    assert request.source is not None
    mode = files_mode(request.asked, reading, client.settings, client.fleet(), own_workers=workers > 0)
    digest = request.asked.digest(request.source)
    folder = reading.folder
    former = None if request.new else _unfinished(request, client, digest)
    if former is not None:
        # by path or as bytes, as it was: else its content would look like another
        mode = "path" if "files" in former.metadata else "inline"
    while True:
        metadata = {"files": folder} if mode == "path" else {}
        job_id = former.id if former else None
        submission = replace(
            request.asked.submission(request.source, mode, metadata, job_id), project=project
        )
        try:
            accepted = client.accept(submission, reading, preflight=request.asked.preflight)
        except Conflict:
            if former is None:
                raise
            say.note(f"job {former.id} is unfinished but its input has changed since: this is a new job")
            former, reading = None, open_input(request.asked, request.source, found.settings)
            continue
        break
    if mode == "path":
        around.roots.append(folder)
    _tell_job(request, client, accepted, reading)
    return accepted.job_id


def _unfinished(request: RunRequest, client: Client, digest: str) -> JobRecord | None:
    """The newest open job of the same source and options. What was piped in is never taken up by itself."""
    if request.source == STDIN or request.asked.idempotency_key is not None:
        return None
    same = [
        record
        for record in client.walk.jobs.unfinished()
        if record.state not in ENDED and record.run == digest
    ]
    return max(same, key=lambda record: record.created_at, default=None)


def _folders_of_open_jobs(client: Client) -> list[str]:
    """On a server of this user alone: our workers may get items of other runs too, and must not fail them."""
    return [
        str(record.metadata["files"])
        for record in client.walk.jobs.unfinished()
        if record.metadata.get("files")
    ]


def _check_files(client: Client, found: Place, around: Around, job_id: str) -> None:
    """Workers that may not read the job's files would fail its items for good. Raises InputError.

    On a shared server the folder that a stored job names is nobody's word to go by.
    """
    folder = client.status(job_id).metadata.get("files")
    roots = [*map(str, found.settings.file_roots), *around.roots]
    if folder and not any(Path(folder).is_relative_to(os.path.realpath(root)) for root in roots):
        raise InputError(
            f"the files of job {job_id} go by path, and local workers may not read {folder}: run it with its INPUT "
            "again, or add that folder to BATCHQ_FILE_ROOTS"
        )


def _tell_job(request: RunRequest, client: Client, accepted: Accepted, reading: Reading) -> None:
    if not accepted.existed:
        tell_accepted(accepted, reading)
        return
    record = client.status(accepted.job_id)
    if record.state in ENDED:
        say.note(f"job {record.id}: submitted before under this key; it is {record.state}")
        return
    say.note(
        f"job {record.id}: going on with it, {record.settled:,} of {count(record.total, 'item')} settled "
        "(--new begins another one)"
    )
    for name in ("rpm", "tpm", "concurrency", "priority"):
        wanted = getattr(request.asked, name)
        if wanted is not None and wanted != getattr(record, name):
            say.note(f"its {name} stays {getattr(record, name) or 'without limit'}: --new for another one")
    max_cost = request.asked.max_cost
    if max_cost == record.max_cost:
        max_cost = None
    _let_go_on(client, record, max_cost, resume=not _held_by_person(record))


def _let_go_on(client: Client, record: JobRecord, max_cost: float | None, *, resume: bool) -> None:
    """`max_cost` is a new cost limit, whoever paused the job."""
    if max_cost is None and not (resume and record.state is JobState.PAUSED):
        return
    client.resume(record.id, max_cost)
    if max_cost is not None:
        say.note(f"its cost limit is {money(max_cost)} now")
    if record.state is JobState.PAUSED:
        say.note(f"it was paused ({record.reason}) and is resumed")


def _held_by_person(record: JobRecord) -> bool:
    held = False
    for change in record.history:
        if change.change == "paused":
            held = change.by == "person"
        elif change.change == "resumed":
            held = False
    return held


def _go_on(client: Client, job_id: str, max_cost: float | None) -> str:
    """--resume: whatever holds the job is lifted, for somebody asks for it by name."""
    record = client.status(job_id)
    settled = f"{record.settled:,} of {count(record.total, 'item')} settled"
    if record.state in ENDED:
        say.note(f"job {job_id}: it is {record.state} already, {settled}")
    else:
        say.note(f"job {job_id}: going on with it, {settled}")
        _let_go_on(client, record, max_cost, resume=True)
    return job_id


# -- to its end ---------------------------------------------------------------------------------------------


def _to_the_end(
    request: RunRequest,
    client: Client,
    found: Place,
    around: Around,
    workers: int,
    job_id: str,
    project: str | None,
    destination: Destination,
) -> int:
    try:
        record = _followed(client, found, around, workers, job_id, project)
    except (KeyboardInterrupt, ending.Terminated) as stop:
        if around.workers is not None:
            grace_s = found.settings.grace_s
            say.note(f"\nstopping: calls under way have {grace_s:g} s to end (Ctrl-C again: at once)")
        say.note(f"go on with the job: batchq run --resume {job_id}")
        raise stop
    if around.workers is not None:
        begin_the_end(client, around.workers)  # while the results are written
        delete_uploads(client, project)
    if record.state is JobState.PAUSED:
        tell_report(client, record, resume="batchq run --resume" if workers else "batchq resume")
        if request.as_json:
            say.document({**record.to_json(), "results": None})
        return exit_code(record)
    if record.all_or_nothing and record.state is not JobState.COMPLETED:
        written = None
        tell_report(client, record)
    else:
        written = _write(client, job_id, destination)
        tell_report(client, record, written or "standard output")
    if request.as_json:
        say.document({**record.to_json(), "results": written})
    return exit_code(record)


def _followed(
    client: Client, found: Place, around: Around, workers: int, job_id: str, project: str | None
) -> JobRecord:
    record = client.status(job_id)
    if record.state in ENDED and record.finished_at is not None:
        return record
    if workers:
        queues = local_queues(found)
        if not found.embedded:
            tell_of_others(client, job_id, queues, project)
        around.workers = start_workers(found, around, workers, queues)
    else:
        from batchq.flow.status import unserved_queues

        missing = unserved_queues(client.walk, job_id)
        if missing:
            say.note(f"{no_worker(missing)}, or use --workers N; waiting for one")
    with progress() as shown:
        return follow(client, job_id, shown, partial(around.check, client), alone=not workers)


def _write(client: Client, job_id: str, destination: Destination) -> str | None:
    from batchq.formats import write

    stdout = say.stdout_bytes() if destination.path is None else None
    spec = client.walk.spec(job_id)
    return write(
        client.results(job_id), destination, stdout, schema=spec.schema, vectors=spec.has_vectors
    ).path


def check_request(request: RunRequest) -> None:
    """What cannot go together. Raises InputError."""
    if request.source is None and request.resume is None:
        raise InputError("name an INPUT: a file, a folder, or - for standard input; or --resume JOB")
    if request.source is not None and request.resume is not None:
        raise InputError("--resume goes on with a stored job and reads no INPUT: leave one of them out")
    if request.new and request.resume is not None:
        raise InputError("--new and --resume contradict each other: keep one")
    if request.as_json and request.out == STDIN:
        raise InputError("--json and -o - both want standard output: name a results file")
