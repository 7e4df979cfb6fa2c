"""batchq server: the embedded server."""

from __future__ import annotations

from typing import Any

import click

from batchq.cli.options import json_option


@click.group("server")
def server_command() -> None:
    """Start, stop or look at the embedded server: the local Redis of this user, when none is configured."""


@server_command.command("start", epilog="\b\nExample:\n  batchq server start")
@json_option
def start_server(as_json: bool) -> None:
    """Start it, or find the one that runs."""
    from batchq import embedded
    from batchq.cli import say

    server = embedded.start()
    say.note(f"the embedded server runs: {server.version}, pid {server.pid}, data in {server.data_dir}")
    if as_json:
        say.document(embedded.status())
    else:
        say.out(server.shown_url)


@server_command.command("stop", epilog="\b\nExample:\n  batchq server stop")
@json_option
def stop_server(as_json: bool) -> None:
    """Stop it; what is stored stays for the next start."""
    from batchq import embedded
    from batchq.cli import say

    stopped = embedded.stop()
    say.note("the embedded server is stopped" if stopped else "no embedded server was running")
    if as_json:
        say.document({"stopped": stopped})


@server_command.command("status", epilog="\b\nExample:\n  batchq server status --json")
@json_option
def server_status(as_json: bool) -> None:
    """Say how it is."""
    from batchq import embedded
    from batchq.cli import say

    status = embedded.status()
    if as_json:
        say.document(status)
    else:
        say.rows(_rows(status))


def _rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    from batchq.core.wording import duration

    memory, aof = status["memory"], status["aof"]
    known = {
        "state": status["state"],
        "url": status["url"],
        "pid": status["pid"],
        "version": status["version"],
        "up": duration(status["uptime_s"]) if status["uptime_s"] is not None else None,
        "memory": f"{memory['used'] / 1e6:,.1f} MB" if memory["used"] is not None else None,
        "data file": f"{aof['size'] / 1e6:,.1f} MB" if aof["size"] is not None else None,
        "folder": status["data_dir"],
        "log": status["log"],
    }
    return [(label, str(value)) for label, value in known.items() if value is not None]
