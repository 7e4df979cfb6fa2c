"""batchq flower: Flower with our pages, from any folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

import batchq


@click.command(
    "flower",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="\b\nExamples:\n  batchq flower\n  batchq flower --port=8080 --url_prefix=flower\n"
    "  FLOWER_BASIC_AUTH=me:secret batchq flower --address=0.0.0.0\n\n"
    "Other options are those of `celery flower`; each has a variable, FLOWER_ and its name. Passwords belong there.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[FLOWER OPTIONS]")
def flower_command(arguments: tuple[str, ...]) -> None:
    """Show jobs, dead letters and the fleet on http://127.0.0.1:5555."""
    from batchq.cli import opening
    from batchq.local import celery_command

    opening.place()  # a missing server is told here, and the embedded one started
    command = celery_command(["flower", *flower_arguments(arguments)])
    os.execv(command[0], command)  # noqa: S606


def flower_arguments(given: Sequence[str]) -> list[str]:
    """The options for Flower, with our configuration file unless another is named."""
    if any(one.split("=")[0] in ("--conf", "-conf") for one in given):
        return list(given)
    return [f"--conf={configuration()}", *given]


def configuration() -> Path:
    """Our configuration file for Flower, as installed: the package of the workers lies beside this one."""
    return Path(batchq.__file__).parents[1] / "workers" / "flower" / "config.py"
