"""batchq plan: what a job would be, before it is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from batchq.cli.options import JobOptions, job_options, json_option
from batchq.core.pricing import AS_OF
from batchq.core.wording import Row, count, duration, money

if TYPE_CHECKING:
    from batchq.flow.plan import Plan

EXAMPLES = """\b
Examples:
  batchq plan messages.csv --prompt 'Sort this message: {text}'
  batchq plan scans/ --operation extract --schema invoice.json --max-cost 5
  batchq plan questions.jsonl --json | jq .cost_usd
"""


@click.command("plan", epilog=EXAMPLES)
@click.argument("source", metavar="INPUT")
@job_options
@json_option
def plan_command(source: str, asked: JobOptions, as_json: bool) -> None:
    """Tell requests, tokens, cost and time of INPUT as a job. Takes submit's options, and stores nothing."""
    from batchq.cli import opening, say
    from batchq.cli.submitting import open_input, tell_input

    loaded = opening.settings()
    opening.check_operation(asked.operation, loaded)
    with open_input(asked, source, loaded) as reading, opening.client() as client:
        tell_input(reading)
        planned = client.foresee(asked.submission(source, "path", {}), reading)
    if as_json:
        say.document(planned.to_json())
        return
    say.rows(_rows(planned))
    for problem in planned.problems:
        say.note(f"  {problem}")


def _rows(plan: Plan) -> list[Row]:
    rows = [
        ("items", count(plan.items, "item") + (f", {plan.bad:,} of them cannot be sent" if plan.bad else ""))
    ]
    calls = f" in {count(plan.calls, 'call')}" if plan.calls != plan.requests else ""
    models = f" to {', '.join(plan.models)}" if plan.models else ""
    rows.append(("requests", f"{plan.requests:,}{calls}{models}"))
    if plan.models:
        rows.append(("tokens", f"about {plan.input_tokens:,} in, {plan.output_tokens:,} out{_told(plan)}"))
        rows.append(("cost", _cost(plan)))
    rows.append(("time", _time(plan)))
    return rows


def _told(plan: Plan) -> str:
    if not plan.output_tokens:
        return ""
    if plan.output_from_jobs:
        return f" (answers as long as in {count(plan.output_from_jobs, 'earlier job')})"
    return " (the answers' length is a guess: no job of this kind has run here)"


def _cost(plan: Plan) -> str:
    if plan.cost_usd is None:
        return f"no price is known for {' or '.join(plan.models)}: give it one in batchq.toml"
    text = f"about {money(plan.cost_usd)} (list prices of {AS_OF} or your own)"
    if plan.max_cost is not None and plan.cost_usd > plan.max_cost:
        text += f"; --max-cost {money(plan.max_cost)} would pause it after about {plan.max_cost / plan.cost_usd:.0%}"
    return text


def _time(plan: Plan) -> str:
    if plan.time_s is None:
        return "unknown: no quota is known, and no worker and earlier job of this kind tell"
    if plan.quota is None:
        return f"about {duration(plan.time_s)}, by the live workers' slots"
    return f"about {duration(plan.time_s)}, by quota {plan.quota}: {plan.quota_limit}"
