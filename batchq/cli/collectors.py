"""batchq collectors: what waits to become a job."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from batchq.cli.options import json_option


@click.command("collectors", epilog="\b\nExample:\n  batchq collectors --json")
@json_option
def collectors_command(as_json: bool) -> None:
    """List collectors: items that wait to become a job, by name."""
    from batchq.cli import opening, say
    from batchq.core.wording import duration

    with opening.client() as client:
        views = client.walk.collectors.views()
    if as_json:
        for view in views:
            say.json_line(asdict(view))
        return
    if not views:
        say.note("no collector")
        return
    body = [
        (
            view.name,
            f"{view.waiting + view.in_batch:,}",
            duration(max(0.0, time.time() - view.oldest)) if view.oldest is not None else "",
            f"{view.flush_items:,} or {duration(view.flush_after_s)}",
            f"{view.batches:,}",
            view.error or "",
        )
        for view in views
    ]
    say.table(("collector", "waiting", "for", "a job at", "jobs", "trouble"), body)
