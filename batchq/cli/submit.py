"""batchq submit: store a job and start it."""

from __future__ import annotations

from dataclasses import replace

import click

from batchq.cli.options import JobOptions, filled, job_options, json_option

EXAMPLES = """\b
Examples:
  batchq submit questions.jsonl --idempotency-key nightly-2026-11-21
  JOB=$(batchq submit messages.csv --prompt 'Sort: {text}' --rpm 600) && batchq watch $JOB
  batchq submit reviews.csv --prompt '{text}' --all-or-nothing -o 'postgresql://me@db.example/shop?table=answers'
  batchq submit scans/ --operation extract --schema invoice.json --files inline --json
"""


@click.command("submit", epilog=EXAMPLES)
@click.argument("source", metavar="INPUT")
@click.option(
    "-o",
    "--out",
    "destination",
    metavar="URL",
    callback=filled,
    help="Where workers write the results when the job ends: a file's address or a database's.",
)
@job_options
@json_option
def submit_command(source: str, destination: str | None, asked: JobOptions, as_json: bool) -> None:
    """Store the items of INPUT as a job and start it. Prints the job's id."""
    from batchq.cli import opening, say
    from batchq.cli.submitting import files_mode, open_input, tell_accepted, tell_expectation, tell_input

    loaded = opening.settings()
    opening.check_operation(asked.operation, loaded)
    with open_input(asked, source, loaded) as reading, opening.client() as client:
        tell_input(reading)
        mode = files_mode(asked, reading, client.settings, client.fleet(), own_workers=False)
        metadata = {"files": reading.folder} if mode == "path" else {}
        submission = replace(asked.submission(source, mode, metadata), destination=destination)
        accepted = client.accept(submission, reading, preflight=asked.preflight)
        tell_accepted(accepted, reading)
        if accepted.existed:
            say.note("it was submitted before under this key")
        tell_expectation(client, accepted.job_id)
        if as_json:
            say.document(client.status(accepted.job_id).to_json())
        else:
            say.out(accepted.job_id)
