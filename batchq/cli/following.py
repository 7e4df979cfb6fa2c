"""Following a job to its end, and telling how it went: what run and watch share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from batchq.cli import ending, say
from batchq.cli.progress import Progress
from batchq.core.lifecycle import ENDED, JobState
from batchq.core.summary import RESUME, Example, all_succeeded, report, what_to_do
from batchq.core.wording import no_worker, one_line
from batchq.flow.status import unserved_queues

if TYPE_CHECKING:
    from batchq.client import Client
    from batchq.core.job import JobRecord
    from batchq.errors import StoreUnavailable

LETTERS_READ = 1_000  # dead letters looked through for an example of each kind
FLEET_CHECKS = 5  # records between two looks at who consumes the queues


def follow(
    client: Client,
    job_id: str,
    shown: Progress,
    check: Callable[[Progress], None] = lambda _: None,
    *,
    alone: bool = True,
) -> JobRecord:
    """Show progress until the job ends or is paused.

    `check` is called at each look and may raise. `alone`: nobody here starts workers, so say when none lives.
    """
    lonely = _Lonely(client, job_id, shown) if alone else None
    outage, waiting = _Outage(client, shown), _Waiting(shown)

    def look(record: JobRecord) -> bool:
        outage.over()
        shown.show(record)
        waiting.look(record)
        check(shown)
        if lonely is not None:
            lonely.look(record)
        return record.state is JobState.PAUSED and record.resumes_at is None  # one that ends is waited for

    record = client.wait(job_id, watch=look, away=outage.seen)
    shown.show(record)
    return record if record.state in ENDED else client.status(job_id)


class _Outage:
    """Says once that the job store is away, and that it is back. The embedded server is started again."""

    def __init__(self, client: Client, shown: Progress) -> None:
        self._client, self._shown = client, shown
        self._away = False

    def seen(self, exc: StoreUnavailable) -> None:
        if not self._away:
            self._shown.note(f"{exc}; waiting for it")
            self._away = True
        if self._client.embedded:
            from batchq import embedded

            embedded.start()  # the same address and password; ServerError says why it cannot

    def over(self) -> None:
        if self._away:
            self._shown.note("the job store is back")
            self._away = False


class _Waiting:
    """Says what the job waits for, once for each cause, and when it goes on."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._told = ""

    def look(self, record: JobRecord) -> None:
        if record.state in ENDED or (record.state is JobState.PAUSED and record.resumes_at is None):
            return  # the report says why
        cause = (record.reason or "").partition(":")[0]  # behind it is how long, which changes
        if cause and cause != self._told:
            self._shown.note(f"{record.state}: {one_line(record.reason or '')}")
        elif self._told and not cause:
            self._shown.note("the job goes on")
        self._told = cause


class _Lonely:
    """Says when nobody consumes the job's queues, and when somebody does again."""

    def __init__(self, client: Client, job_id: str, shown: Progress) -> None:
        self._client, self._job_id, self._shown = client, job_id, shown
        self._looks = 0
        self._told = False

    def look(self, record: JobRecord) -> None:
        self._looks += 1
        if self._looks % FLEET_CHECKS or not record.pending + record.processing:
            return
        missing = unserved_queues(self._client.walk, self._job_id)
        if missing and not self._told:
            self._shown.note(no_worker(missing) + "; waiting for one")
        elif self._told and not missing:
            self._shown.note("a worker consumes the job's queues now")
        self._told = bool(missing)


def tell_report(
    client: Client, record: JobRecord, results: str | None = None, *, resume: str = RESUME
) -> None:
    """The report on stderr. `resume` is the command that has a paused job go on."""
    rows = [("job", record.id), *report(record, examples(client, record))]
    if results is not None:
        rows.append(("results", results))
    say.note()
    say.rows(rows, to_stderr=True)
    advice = what_to_do(record, resume)
    if advice:
        say.note()
        for line in advice:
            say.note(line)


def examples(client: Client, record: JobRecord) -> dict[str, Example]:
    """One item of each error kind, as far as the first dead letters show them."""
    found: dict[str, Example] = {}
    if not record.failed + record.dead_letter:
        return found
    for letter in islice(client.dead_letters(record.id), LETTERS_READ):
        found.setdefault(letter.reason, Example(letter.id, letter.error.message))
        if len(found) >= len(record.errors):
            break
    return found


def exit_code(record: JobRecord) -> int:
    """Of run and watch."""
    if record.state is JobState.PAUSED:
        return ending.PAUSED
    if record.state in (JobState.FAILED, JobState.CANCELLED):
        return ending.ENDED_EARLY
    return 0 if all_succeeded(record) else ending.UNSUCCESSFUL
