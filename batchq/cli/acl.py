"""batchq acl: print the rules that a Redis server is to have for batchq's users."""

from __future__ import annotations

import click

from batchq.cli.options import json_option


@click.command(
    "acl",
    epilog="\b\nExamples:\n  batchq acl > users.acl\n  batchq acl --role worker --json | jq -r '.rules[]'",
)
@click.option(
    "--role",
    type=click.Choice(["submitter", "worker", "dashboard"]),
    help="That one only; default: all three.",
)
@json_option
def acl_command(role: str | None, as_json: bool) -> None:
    """Print Redis ACL rules for submitters, workers and dashboards, as lines of an ACL file.

    Put passwords in the place of PASSWORD. The rules follow the namespace and the database of the settings.
    """
    from dataclasses import asdict

    from batchq.acl import users
    from batchq.cli import opening, say

    for user in users(opening.settings()):
        if role not in (None, user.role):
            continue
        if as_json:
            say.json_line(asdict(user))
        else:
            say.out(user.line)
