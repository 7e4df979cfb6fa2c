"""How a command ends: every exception as one message and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from types import FrameType
from typing import Any

import click

from batchq.cli import say
from batchq.errors import BatchqError, InputError, StoreUnavailable, Unavailable

ERROR, USAGE, UNSUCCESSFUL, ENDED_EARLY, PAUSED = 1, 2, 3, 4, 5
INTERRUPTED, TERMINATED = 130, 143
BROKEN_PIPE = 141  # as of programs that SIGPIPE ends


class Terminated(BaseException):
    """SIGTERM arrived: end in good order."""


def code_of(exc: BaseException) -> int:
    """Say what went wrong, in one message without a traceback; the exit code."""
    match exc:
        case SystemExit():
            return exc.code if isinstance(exc.code, int) else ERROR
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case Terminated():
            return TERMINATED
        case click.ClickException():
            exc.show()
            return exc.exit_code
        case InputError():
            say.error(str(exc))
            return USAGE
        case StoreUnavailable():
            say.error(f"{exc}\nIs the server up, and BATCHQ_REDIS_URL right? `batchq doctor` checks it")
        case Unavailable(kind="CONNECTION"):
            say.error(
                f"{exc}\nNothing was stored. Does something listen there, and is GOOGLE_GEMINI_BASE_URL right? "
                "--no-preflight submits without asking"
            )
        case BatchqError():
            say.error(str(exc))
        case BrokenPipeError():
            close_stdout()
            return BROKEN_PIPE
        case OSError():
            say.error(_of_system(exc))
        case _:
            say.error(f"unexpected {type(exc).__name__}: {exc}\n`batchq --debug COMMAND …` shows where")
    return ERROR


def _of_system(exc: OSError) -> str:
    where = f"{exc.filename}: " if exc.filename else ""
    return f"{where}{exc.strerror or exc}"


def close_stdout() -> None:
    """Whoever read it is gone; what is still buffered must not complain at the end of the process."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return


def raise_on_sigterm() -> None:
    """Have SIGTERM end this process as an exception, so that what it started ends with it."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise Terminated

    signal.signal(signal.SIGTERM, end)


def quiet_warnings() -> None:
    """Warnings as a line on stderr, without the line of code that they come from."""

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        from batchq.errors import NoWorkerWarning
        from batchq.settings import UnknownVariable

        if category in (UnknownVariable, NoWorkerWarning):
            say.note(f"warning: {message}")

    warnings.showwarning = show  # type: ignore[assignment]
