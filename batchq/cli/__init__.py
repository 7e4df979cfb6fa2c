"""The command line: parse, call one function, print. A command's module is imported when the command runs."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from batchq.cli import ending

# name -> module, and the help that the list of commands shows without importing it
COMMANDS = {
    "run": ("run", "Run a job from its input to its results, with local workers."),
    "submit": ("submit", "Store a job and start it; prints its id."),
    "plan": ("plan", "Tell requests, tokens, cost and time before submitting."),
    "status": ("jobs", "Show a job's record."),
    "watch": ("jobs", "Follow a job until it ends."),
    "list": ("jobs", "List jobs, newest first."),
    "results": ("jobs", "Write what is settled of a job."),
    "cancel": ("jobs", "Send out nothing more of a job."),
    "pause": ("jobs", "Hold a job until it is resumed."),
    "resume": ("jobs", "Let a paused job go on."),
    "delete": ("jobs", "Remove an ended job and its results."),
    "collectors": ("collectors", "List items that wait to become a job."),
    "dlq": ("dlq", "Review dead letters: items that did not succeed."),
    "quotas": ("quotas", "See how much of each quota is used; change limits."),
    "workers": ("workers", "Show who is alive, what each consumes and holds."),
    "server": ("server", "Start, stop or look at the embedded server."),
    "worker": ("celery", "Run a Celery worker of the fleet."),
    "flower": ("celery", "Show jobs, dead letters and workers in the browser."),
    "acl": ("acl", "Print access rules for Redis: submitter, worker, dashboard."),
    "emulator": ("emulator", "Run a local Gemini API."),
    "doctor": ("doctor", "Check settings, server, provider and fleet."),
}


class Commands(click.Group):
    """Knows its commands by name; loads one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"batchq.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would end with 1 for it
            ending.close_stdout()
            return ending.BROKEN_PIPE
        except Exception:
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`batchq COMMAND --help` has examples. Exit codes: 0 fine, 1 error, 2 usage or bad input, 130 interrupted; "
    "of run and watch also 3 finished but some items not successful, 4 job failed or cancelled, 5 paused.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.version_option(package_name="batchq", message="batchq %(version)s")
def batchq(debug: bool) -> None:
    """Run language-model work in bulk."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point: runs the command line, answers with its exit code. Prints no traceback without --debug."""
    ending.quiet_warnings()
    try:
        code = batchq.main(
            args=list(arguments) if arguments is not None else None,
            prog_name="batchq",
            standalone_mode=False,
        )
    except BaseException as exc:
        return ending.code_of(exc)
    return code if isinstance(code, int) else 0
