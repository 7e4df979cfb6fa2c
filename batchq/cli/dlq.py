"""batchq dlq: review dead letters, send them back, set them aside."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchq.cli.options import json_option, out_option
from batchq.errors import InputError

if TYPE_CHECKING:
    from batchq.client import Client
    from batchq.core.records import Attempt, DeadLetter
    from batchq.flow.redrive import Filters


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters a command is about: one job's, or (None) all jobs'."""

    job_id: str | None
    filters: Filters

    @property
    def everything(self) -> bool:
        """Not even a job is named."""
        return not self.job_id and not any(self.filters.values())

    def letters(self, client: Client) -> Iterator[DeadLetter]:
        return client.dead_letters(self.job_id, **self.filters)


def choice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """[JOB] [ID]... and the filters; the command gets them as `choice`."""

    @wraps(command)
    def with_choice(**given: Any) -> Any:
        filters: Filters = {
            "reason": given.pop("reason"),
            "error": given.pop("error"),
            "operation": given.pop("operation"),
            "ids": (*given.pop("items"), *given.pop("ids")) or None,
        }
        return command(choice=Choice(given.pop("job_id"), filters), **given)

    for option in (
        click.option(
            "--id", "ids", metavar="ID", multiple=True, help="This item, of JOB or of any; may be repeated."
        ),
        click.option("--operation", metavar="NAME", help="Items of this operation."),
        click.option("--error", metavar="TEXT", help="Items whose error message contains TEXT."),
        click.option("--reason", metavar="STATUS", help="Items with this error, such as SCHEMA_MISMATCH."),
        click.argument("items", metavar="[ID]...", nargs=-1),
        click.argument("job_id", metavar="[JOB]", required=False),
    ):
        with_choice = option(with_choice)
    return with_choice


@click.group("dlq")
def dlq_command() -> None:
    """Review dead letters: items that did not succeed, kept with their history.

    JOB and filters choose among them, or JOB and the ids of items. Without any of these a command is about the dead
    letters of all jobs.
    """


@dlq_command.command(
    "list", epilog="\b\nExamples:\n  batchq dlq list JOB\n  batchq dlq list --reason TIMEOUT --json"
)
@choice_options
@json_option
def list_letters(choice: Choice, as_json: bool) -> None:
    """One line a dead letter."""
    from batchq.cli import opening, say
    from batchq.core.wording import count

    number = 0
    with opening.client() as client:
        for letter in choice.letters(client):
            number += 1
            if as_json:
                say.json_line(_brief(letter))
            else:
                say.out(_line(letter))
    say.note(count(number, "dead letter") if number else "no dead letter")


@dlq_command.command(
    "show",
    epilog="\b\nExamples:\n  batchq dlq show JOB q-17\n  batchq dlq show --id q-17\n  batchq dlq show JOB --json | jq .input",
)
@choice_options
@json_option
def show_letters(choice: Choice, as_json: bool) -> None:
    """Dead letters whole: error, attempts, input."""
    from batchq.cli import opening, say

    number = 0
    with opening.client() as client:
        for letter in choice.letters(client):
            if as_json:
                say.json_line(letter.to_json())
            else:
                if number:
                    say.out("")
                say.rows(_whole(letter))
            number += 1
    if not number:
        say.note("no dead letter")


@dlq_command.command(
    "redrive",
    short_help="Send dead letters back as pending items.",
    epilog="\b\nExamples:\n  batchq dlq redrive JOB\n  batchq dlq redrive --reason TIMEOUT\n"
    "  batchq dlq redrive JOB q-17 q-18",
)
@choice_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def redrive_letters(choice: Choice, yes: bool, as_json: bool) -> None:
    """Send dead letters back as pending items; a finished job opens again."""
    from batchq.cli import opening, say
    from batchq.core.wording import count

    with opening.client() as client:
        if choice.everything and not yes:
            _confirm(client, choice, "Send back")
        hopeless = sum(letter.refused_before_any_call for letter in choice.letters(client))
        number = client.redrive(choice.job_id, **choice.filters)
    say.note(f"{count(number, 'item')} sent back")
    if hopeless:
        say.note(f"{hopeless:,} stay, refused before any call: correct the input and submit it again")
    if as_json:
        say.document({"redriven": number, "skipped": hopeless})


@dlq_command.command(
    "purge",
    short_help="Set dead letters aside for good.",
    epilog="\b\nExamples:\n  batchq dlq purge JOB --reason EMPTY_PROMPT\n  batchq dlq purge --yes",
)
@choice_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge_letters(choice: Choice, yes: bool, as_json: bool) -> None:
    """Set dead letters aside for good: they stay failed in counts and results, and leave the list."""
    from batchq.cli import opening, say
    from batchq.core.wording import count

    with opening.client() as client:
        if choice.everything and not yes:
            _confirm(client, choice, "Purge")
        number = client.purge(choice.job_id, **choice.filters)
    say.note(f"{count(number, 'dead letter')} purged")
    if as_json:
        say.document({"purged": number})


@dlq_command.command(
    "export",
    short_help="Dead letters as JSON lines.",
    epilog="\b\nExample:\n  batchq dlq export JOB -o letters.jsonl",
)
@choice_options
@out_option
@json_option
def export_letters(choice: Choice, out: str | None, as_json: bool) -> None:
    """Dead letters as JSON lines, with input, error and attempts; to stdout, or to OUT."""
    from batchq.cli import opening, say
    from batchq.core.wording import count
    from batchq.formats import check_destination

    destination = check_destination(out or "-", "jsonl")
    if destination.address is not None:
        raise InputError(f"-o {destination.path}: dead letters are exported to a file or to stdout")
    with opening.client() as client:
        texts = (say.to_json(letter.to_json()) + "\n" for letter in choice.letters(client))
        if destination.path is None:
            number = sum(1 for text in texts if sys.stdout.write(text))
        else:
            number = _replace(Path(os.path.realpath(destination.path)), texts)
    say.note(count(number, "dead letter") + (f": {destination.path}" if destination.path else ""))
    if as_json and destination.path is not None:
        say.document({"exported": number, "path": destination.path})


def _confirm(client: Client, choice: Choice, what: str) -> None:
    number = sum(1 for _ in choice.letters(client))
    if not number:
        return  # there is nothing to ask about
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{what.lower()} all {number:,} dead letters of all jobs? Name a JOB or a filter, or add --yes"
        )
    click.confirm(f"{what} all {number:,} dead letters of all jobs?", abort=True, err=True)


def _replace(target: Path, texts: Iterable[str]) -> int:
    """Write a file whole or not at all; how many texts it has."""
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=".batchq-", suffix=".part", delete=False
    ) as file:
        try:
            for text in texts:
                file.write(text)
                number += 1
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return number


def _brief(letter: DeadLetter) -> dict[str, Any]:
    whole = letter.to_json()
    return {key: value for key, value in whole.items() if key not in ("input", "history")}


def _line(letter: DeadLetter) -> str:
    from batchq.core.wording import one_line

    parts = (letter.job_id, letter.id, str(letter.status), letter.reason)
    return "  ".join([*(one_line(part, 60) for part in parts), one_line(letter.error.message, 160)])


def _attempt(attempt: Attempt) -> str:
    from batchq.core.wording import milliseconds

    if attempt.is_redrive:
        return attempt.error.message
    return f"after {milliseconds(attempt.duration_ms)}: {attempt.error.status}: {attempt.error.message}"


def _whole(letter: DeadLetter) -> list[tuple[str, str]]:
    from batchq.cli.say import to_json
    from batchq.core.wording import count

    rows = [
        ("job", letter.job_id),
        ("item", letter.id),
        ("operation", letter.operation),
        ("status", str(letter.status)),
        ("error", f"{letter.error.code or ''} {letter.reason}: {letter.error.message}".strip()),
        ("attempts", str(letter.attempts)),
    ]
    rows += [("history", _attempt(one)) for one in letter.history]
    text = to_json(letter.input)
    rows.append(
        ("input", text if len(text) <= 2_000 else f"{text[:2_000]}… ({count(len(text), 'character')})")
    )
    return rows
