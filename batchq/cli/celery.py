"""batchq worker and batchq flower: Celery's commands with the installed tasks and pages, from any folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

import click

import batchq

POOL, SLOTS = "gevent", 100

Passing = Callable[[tuple[str, ...]], Any]


def passing_on(name: str, whose: str, epilog: str) -> Callable[[Passing], click.Command]:
    """A command whose options are all Celery's: none is read here."""

    def command(run: Passing) -> click.Command:
        arguments = click.argument(
            "arguments", nargs=-1, type=click.UNPROCESSED, metavar=f"[{whose} OPTIONS]"
        )
        settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
        return click.command(name, context_settings=settings, epilog=epilog)(arguments(run))

    return command


@passing_on(
    "worker",
    "CELERY",
    "\b\nExamples:\n  batchq worker\n  batchq worker -c 400 -l info\n"
    "  batchq worker -Q batchq.generate,batchq.control\n  batchq worker -P prefork -c 8\n\n"
    "Other options are those of `celery worker` (`celery worker --help`). SIGTERM ends it in good order.",
)
def worker_command(arguments: tuple[str, ...]) -> None:
    """Run a Celery worker: `celery -A workers worker -P gevent -c 100` with the options given here."""
    from batchq import wiring
    from batchq.cli import opening, say

    loaded = opening.settings()
    wiring.locate(loaded, start=False)  # a missing server is told here, not in Celery's traceback
    known = [*wiring.worker_queues(loaded), loaded.dead_letter_queue]
    for queue in queues_named(arguments):
        if queue not in known:
            say.note(f"warning: no operation here uses queue {queue}: there are {', '.join(known)}")
    _become("worker", worker_arguments(arguments))


@passing_on(
    "flower",
    "FLOWER",
    "\b\nExamples:\n  batchq flower\n  batchq flower --port=8080 --url_prefix=flower\n"
    "  FLOWER_BASIC_AUTH=me:secret batchq flower --address=0.0.0.0\n\n"
    "Other options are those of `celery flower`; each has a variable, FLOWER_ and its name. Passwords belong there.",
)
def flower_command(arguments: tuple[str, ...]) -> None:
    """Show jobs, dead letters and the fleet on http://127.0.0.1:5555."""
    from batchq.cli import opening

    opening.place()  # a missing server is told here, and the embedded one started
    _become("flower", flower_arguments(arguments))


def _become(name: str, arguments: Sequence[str]) -> NoReturn:
    """Celery's command in this very process, so that signals reach it."""
    from batchq.local import celery_command

    command = celery_command([name, *arguments])
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


def queues_named(given: Sequence[str]) -> list[str]:
    """What `-Q a,b`, `-Qa,b`, `--queues a,b` or `--queues=a,b` name."""
    named = []
    for one, following in zip_longest(given, given[1:], fillvalue=""):
        if one in ("-Q", "--queues"):
            named.append(following)
        elif one.startswith("--queues="):
            named.append(one.removeprefix("--queues="))
        elif one.startswith("-Q"):
            named.append(one[2:])
    return [queue.strip() for text in named for queue in text.split(",") if queue.strip()]


def flower_arguments(given: Sequence[str]) -> list[str]:
    """The options for Flower, with our configuration file unless another is named."""
    if any(one.split("=")[0] in ("--conf", "-conf") for one in given):
        return list(given)
    # as installed: the package of the workers lies beside this one
    ours = Path(batchq.__file__).parents[1] / "workers" / "flower" / "config.py"
    return [f"--conf={ours}", *given]
