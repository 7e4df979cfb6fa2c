"""batchq run: a job from its input to its results."""

from __future__ import annotations

from typing import Any

import click

from batchq.cli.options import JobOptions, filled, format_option, job_options, json_option, out_option

EXAMPLES = """\b
Examples:
  batchq run questions.txt -o answers.jsonl
  batchq run messages.csv --prompt 'Sort this message: {text}' --schema schema.json
  batchq run scans/ --glob '*.png' --operation extract --schema invoice.json -o invoices.csv
  cat questions.txt | batchq run - --prompt 'In one sentence: {text}' -o -
  batchq run --resume 20261121-093000-a1b2c3

INPUT is a file (Gemini Batch lines, JSON lines, CSV, text), a folder of files, or - for standard input. Without a
configured Redis an embedded server is started, with one local worker; without a key the local emulator answers.
Ctrl-C lets calls under way end and keeps the job: --resume, or the same command again, goes on with it.
"""


@click.command("run", epilog=EXAMPLES)
@click.argument("source", metavar="[INPUT]", required=False)
@out_option
@format_option
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    metavar="N",
    help="Local workers; default: 1 on the embedded server, 0 on a configured one.",
)
@click.option("--new", is_flag=True, help="A new job, also where the same one is unfinished.")
@click.option("--resume", metavar="JOB", callback=filled, help="Go on with a stored job; no INPUT is read.")
@job_options
@json_option
def run_command(asked: JobOptions, **given: Any) -> int:
    """Run a job from INPUT to its results: server, workers, submission, progress, report."""
    from batchq.cli import ending
    from batchq.cli.running import RunRequest, check_request, run

    request = RunRequest(asked=asked, **given)
    check_request(request)
    ending.raise_on_sigterm()
    return run(request)
