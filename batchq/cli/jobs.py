"""Commands on stored jobs: status, watch, list, results, cancel, pause, resume, delete."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from batchq.cli.options import format_option, job_argument, json_option, max_cost_option, out_option
from batchq.core.wording import money

if TYPE_CHECKING:
    from batchq.core.job import JobRecord
    from batchq.core.lifecycle import ItemState
    from batchq.core.records import JsonObject

JOB_STATES = ("pending", "processing", "paused", "completed", "failed", "cancelled")
UNSUCCESSFUL_WORD = "unsuccessful"


@click.command(
    "status",
    epilog="\b\nExamples:\n  batchq status JOB\n  batchq status JOB --history\n"
    "  batchq status JOB --json | jq .succeeded",
)
@job_argument
@click.option("--history", is_flag=True, help="What happened to the job, and by whom.")
@json_option
def status_command(job_id: str, history: bool, as_json: bool) -> None:
    """Show the record of JOB."""
    from batchq.cli import opening, say
    from batchq.cli.following import examples
    from batchq.core.summary import report

    with opening.client() as client:
        record = client.status(job_id)
        if as_json:
            say.document(record.to_json())
            return
        say.rows([*_head(record), *report(record, examples(client, record))])
    if history:
        say.out("")
        say.table(
            ("time", "change", "by", "why"),
            [(_clock(change.time), change.change, change.by, change.why) for change in record.history],
        )


@click.command("watch", epilog="\b\nExamples:\n  batchq watch JOB\n  batchq watch JOB --json > record.json")
@job_argument
@json_option
def watch_command(job_id: str, as_json: bool) -> int:
    """Follow JOB until it ends; exit code 0, 3, 4 or 5 as run's. Ctrl-C ends the watching only."""
    from batchq.cli import ending, opening, say
    from batchq.cli.following import exit_code, follow, tell_report
    from batchq.cli.progress import progress

    ending.raise_on_sigterm()
    with opening.client() as client:
        client.get(job_id)
        try:
            with progress() as shown:
                record = follow(client, job_id, shown)
        except (KeyboardInterrupt, ending.Terminated):
            say.note(f"\nthe job goes on; watch it again: batchq watch {job_id}")
            raise
        tell_report(client, record)
    if as_json:
        say.document(record.to_json())
    return exit_code(record)


@click.command("list", epilog="\b\nExamples:\n  batchq list\n  batchq list --state processing --json")
@click.option("--state", type=click.Choice(JOB_STATES), help="Only jobs in this state.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The newest N.")
@json_option
def list_command(state: str | None, limit: int | None, as_json: bool) -> None:
    """List jobs, newest first."""
    from contextlib import suppress
    from itertools import islice

    from batchq.cli import opening, say
    from batchq.errors import NotFound
    from batchq.flow.status import completed
    from batchq.store.job_record import NewerJob

    def document(job: JobRecord | NewerJob) -> JsonObject:
        if isinstance(job, NewerJob):
            return {"id": job.id, "state": None, "error": job.why}
        with suppress(NotFound):  # deleted since it was listed
            job = completed(client.walk, job)
        return job.to_json()

    def row(job: JobRecord | NewerJob) -> tuple[str, ...]:
        if isinstance(job, NewerJob):
            return (job.id, "unknown", "", "", "", "", job.why)
        return _list_row(job)

    with opening.client() as client:
        jobs = islice(client.walk.jobs.every() if state is None else client.list(state), limit)
        if as_json:
            for job in jobs:
                say.json_line(document(job))
            return
        body = [row(job) for job in jobs]
    if body:
        say.table(("job", "state", "settled", "failed", "created", "operation", "source"), body)
    else:
        say.note("no job" + (f" is {state}" if state else ""))


@click.command(
    "results",
    epilog="\b\nExamples:\n  batchq results JOB -o answers.jsonl\n  batchq results JOB --only unsuccessful\n"
    "  batchq results JOB --only succeeded --format csv -o answers.csv\n  batchq results JOB --wait | head",
)
@job_argument
@out_option
@format_option
@click.option("--only", metavar="STATE,…", help="succeeded, failed, dead_letter, cancelled or unsuccessful.")
@click.option("--wait", is_flag=True, help="Each item as its turn settles, to the last.")
@json_option
def results_command(
    job_id: str, out: str | None, form: str | None, only: str | None, wait: bool, as_json: bool
) -> None:
    """Write what is settled of JOB, in input order; to stdout, or to OUT."""
    from batchq.cli import opening, say
    from batchq.formats import check_destination, write

    if as_json and form not in (None, "jsonl") and out is None:
        raise click.UsageError("--json means JSON lines on standard output: leave --format out")
    states = _states(only)
    destination = check_destination(out or "-", form)
    with opening.client() as client:
        record = client.status(job_id)
        if not wait and record.settled < record.total:
            say.note(
                f"job {job_id} is {record.state}: {record.settled:,} of {record.total:,} items are settled; "
                "--wait writes the others as they settle"
            )
        stdout = say.stdout_bytes() if destination.path is None else None
        spec = client.walk.spec(job_id)
        results = client.results(job_id, only=states, wait=wait)
        written = write(results, destination, stdout, schema=spec.schema, vectors=spec.has_vectors)
    if written.path is not None:
        say.note(f"{written.count:,} results: {written.path}")
        if as_json:
            say.document({"job_id": job_id, "results": written.path, "count": written.count})


@click.command("cancel", epilog="\b\nExample:\n  batchq cancel JOB")
@job_argument
@json_option
def cancel_command(job_id: str, as_json: bool) -> None:
    """Send out nothing more of JOB. What is in flight may still settle; results so far stay."""
    _move(job_id, as_json, lambda client: client.cancel(job_id), "is cancelled", "was cancelled already")


@click.command(
    "pause", epilog="\b\nExamples:\n  batchq pause JOB\n  batchq pause JOB --why 'asking for more quota'"
)
@job_argument
@click.option("--why", default="", metavar="TEXT", help="Shown with the job.")
@json_option
def pause_command(job_id: str, why: str, as_json: bool) -> None:
    """Hold JOB: nothing more goes out until it is resumed."""
    _move(job_id, as_json, lambda client: client.pause(job_id, why), "is paused", "was paused already")


@click.command(
    "resume",
    epilog="\b\nExamples:\n  batchq resume JOB\n  batchq resume JOB --max-cost 25   # it may cost $25 in all",
)
@job_argument
@max_cost_option("From now on JOB may cost USD in all; one that was submitted with a limit.")
@json_option
def resume_command(job_id: str, max_cost: float | None, as_json: bool) -> None:
    """Lift what JOB itself is paused for; a quota that is paused has `batchq quotas resume`."""
    from batchq.cli import opening, say

    with opening.client() as client:
        changed = client.resume(job_id, max_cost)
        record = client.status(job_id)
        if "quota" in record.paused_by:
            itself = "is held by nothing else any more" if changed else "itself was not paused"
            say.note(f"job {job_id} {itself}; it waits: {record.reason}")
        else:
            say.note(f"job {job_id} {'goes on' if changed else 'was not paused'}")
        if as_json:
            say.document(record.to_json())


@click.command("delete", epilog="\b\nExample:\n  batchq delete JOB")
@job_argument
@json_option
def delete_command(job_id: str, as_json: bool) -> None:
    """Remove every trace of JOB, which has ended: record, results, dead letters."""
    from batchq.cli import opening, say

    with opening.client() as client:
        client.delete(job_id)
    say.note(f"job {job_id} is deleted")
    if as_json:
        say.document({"id": job_id, "deleted": True})


def _move(job_id: str, as_json: bool, move: Any, done: str, not_needed: str) -> None:
    from batchq.cli import opening, say

    with opening.client() as client:
        changed = move(client)
        say.note(f"job {job_id} {done if changed else not_needed}")
        if as_json:
            say.document(client.status(job_id).to_json())


def _head(record: JobRecord) -> list[tuple[str, str]]:
    rows = [("job", record.id), ("operation", f"{record.operation} {record.model or ''}".strip())]
    if record.metadata.get("source"):
        rows.append(("source", str(record.metadata["source"])))
    rows.append(("created", _clock(record.created_at)))
    limits = [
        f"{name} {value}"
        for name, value in (("rpm", record.rpm), ("tpm", record.tpm), ("concurrency", record.concurrency))
        if value is not None
    ]
    if limits:
        rows.append(("limits", ", ".join(limits)))
    if record.max_cost is not None:
        rows.append(("cost limit", money(record.max_cost)))
    if record.destination is not None:
        rows.append(("destination", _destination(record.destination)))
    if record.all_or_nothing:
        rows.append(("promise", "all or nothing"))
    if record.not_before is not None:
        rows.append(("not before", _clock(record.not_before)))
    if record.deadline is not None:
        rows.append(("deadline", _clock(record.deadline)))
    return rows


def _destination(where: JsonObject) -> str:
    text = f"{where['url']}: {where['state']}"
    if where["state"] in ("writing", "written"):
        text += f", {where['written']:,} results"
    if where["error"]:
        text += f" (after {where['tries']} tries: {where['error']})"
    return text


def _list_row(record: JobRecord) -> tuple[str, ...]:
    return (
        record.id,
        str(record.state),
        f"{record.settled}/{record.total}",
        str(record.failed + record.dead_letter),
        _clock(record.created_at),
        record.operation,
        str(record.metadata.get("source", "")),
    )


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _states(only: str | None) -> frozenset[ItemState] | None:
    from batchq.core.lifecycle import SETTLED, UNSUCCESSFUL, ItemState

    if only is None:
        return None
    chosen: set[ItemState] = set()
    for word in (part.strip().lower().replace("-", "_") for part in only.split(",")):
        if word == UNSUCCESSFUL_WORD:
            chosen |= UNSUCCESSFUL
        elif word in SETTLED:
            chosen.add(ItemState(word))
        else:
            known = ", ".join(sorted(SETTLED))
            raise click.BadParameter(
                f"{word!r} is no state of a settled item: {known} or {UNSUCCESSFUL_WORD}",
                param_hint="'--only'",
            )
    return frozenset(chosen)
