"""batchq worker: a Celery worker with the installed tasks, from any folder."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

POOL, SLOTS = "gevent", 100


@click.command(
    "worker",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="\b\nExamples:\n  batchq worker\n  batchq worker -c 400 -l info\n"
    "  batchq worker -Q batchq.generate,batchq.control\n  batchq worker -P prefork -c 8\n\n"
    "Other options are those of `celery worker` (`celery worker --help`). SIGTERM ends it in good order.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CELERY OPTIONS]")
def worker_command(arguments: tuple[str, ...]) -> None:
    """Run a Celery worker: `celery -A workers worker -P gevent -c 100` with the options given here."""
    from batchq import wiring
    from batchq.cli import opening
    from batchq.local import celery_command

    wiring.locate(opening.settings(), start=False)  # a missing server is told here, not in Celery's traceback
    command = celery_command(["worker", *worker_arguments(arguments)])
    os.execv(command[0], command)  # noqa: S606


def worker_arguments(given: Sequence[str]) -> list[str]:
    """The options for Celery, with our defaults; `-Pgevent` and `--pool=gevent` are spelled apart.

    Glued together they start a gevent pool with nothing patched.
    """
    arguments: list[str] = []
    for one in given:
        if one.startswith("-P") and len(one) > 2:
            arguments += ["-P", one[2:].removeprefix("=")]
        elif one.startswith("--pool="):
            arguments += ["-P", one.removeprefix("--pool=")]
        else:
            arguments.append(one)
    if not {"-P", "--pool"} & set(arguments):
        arguments = ["-P", POOL, *arguments]
    if not any(one.startswith(("-c", "--concurrency", "--autoscale")) for one in arguments):
        arguments += ["-c", str(SLOTS)]
    return arguments
