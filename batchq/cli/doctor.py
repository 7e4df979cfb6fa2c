"""batchq doctor: check settings, server, provider and fleet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from batchq.cli.options import json_option

if TYPE_CHECKING:
    from batchq.cli.checks import Finding
    from batchq.settings import Settings


@click.command(
    "doctor",
    epilog="\b\nExamples:\n  batchq doctor\n  batchq doctor --deep --repair\n  batchq doctor --no-provider --json | jq .checks",
)
@click.option("--provider/--no-provider", "ask", default=True, help="Ask Gemini for key and model (default).")
@click.option("--deep", is_flag=True, help="Look at every key of every job too: orphans, wrong counts.")
@click.option("--repair", is_flag=True, help="With --deep: set right what it finds.")
@json_option
def doctor_command(ask: bool, deep: bool, repair: bool, as_json: bool) -> int:
    """Show the effective settings and check each connection; exit code 1 if a check fails."""
    from batchq import wiring
    from batchq.cli import ending, opening, say
    from batchq.cli.checks import Verdict, effective

    if repair and not deep:
        raise click.UsageError("--repair goes with --deep")
    settings = opening.settings()
    values = effective(settings, wiring.load_operations(settings))
    findings = list(_findings(settings, ask, deep, repair))
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    if as_json:
        say.document(
            {
                "ok": not failed,
                "settings": {one.name: {"value": one.value, "origin": one.origin} for one in values},
                "checks": [finding.to_json() for finding in findings],
            }
        )
    else:
        say.table(
            ("setting", "value", "from"), [(one.name, say.to_json(one.value), one.origin) for one in values]
        )
        say.out("")
        for finding in findings:
            say.out(f"{finding.verdict:<4}  {finding.check}: {finding.text}")
            if finding.remedy:
                say.out(f"      → {finding.remedy}")
    return ending.ERROR if failed else 0


def _findings(settings: Settings, ask: bool, deep: bool, repair: bool) -> Iterator[Finding]:
    from batchq import safety, wiring
    from batchq.cli import checks
    from batchq.cli.celery import POOL, SLOTS
    from batchq.dispatch import PREFETCH
    from batchq.errors import BatchqError, ConfigurationError

    yield from safety.libraries()
    # as `batchq worker` would start one here; whether it could ask Gemini is looked at below
    yield from safety.worker(settings, pool=POOL, slots=SLOTS, patched=True, prefetch=PREFETCH, consumes=())
    try:
        found = wiring.locate(settings, start=False)
    except ConfigurationError:
        yield checks.warn(
            "server",
            "BATCHQ_REDIS_URL is not set; the embedded server does not run",
            "`batchq` commands start it",
        )
    except BatchqError as exc:
        yield checks.fail("server", str(exc))
    else:
        at_servers = list(safety.servers(found.settings, away=_unreachable))
        yield from at_servers
        if not any(one.check == "server" and one.verdict is checks.Verdict.FAIL for one in at_servers):
            yield from checks.encryption(found.settings)
            yield from checks.broker(found.settings)
            yield from checks.fleet(found.settings)
            if deep:
                from batchq.cli.deep import deep as deeply

                yield from deeply(found.settings, repair=repair)
    yield from checks.provider(settings, ask=ask)


def _unreachable(text: str, variable: str) -> Finding:
    from batchq.cli import checks

    return checks.fail("server", text, f"start it, or correct {variable}")
