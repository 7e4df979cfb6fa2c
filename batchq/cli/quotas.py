"""batchq quotas: live use of each quota, and changes that reach the fleet at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from batchq.cli.options import json_option

if TYPE_CHECKING:
    from batchq.core.limits import QuotaLimits
    from batchq.flow.quotas import Quotas
    from batchq.store.quotas import QuotaView

name_argument = click.argument("name", metavar="QUOTA")
HEADS = (
    "quota",
    "workers",
    "requests/min",
    "tokens/min",
    "requests/day",
    "in flight",
    "limits from",
    "state",
)
ABSENT = "—"


class _Limit(click.ParamType[int]):
    """A whole number, with k and M; none for no limit."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).replace("_", "").replace(",", "")
        if text == "none":
            return 0
        factor = {"k": 1_000, "K": 1_000, "M": 1_000_000}.get(text[-1:], 1)
        digits = text[:-1] if factor > 1 else text
        if not digits.isascii() or not digits.isdigit() or not int(digits):
            self.fail(
                f"{value!r} is no limit: give a whole number from 1 (4000, 4k, 4M), or none", param, ctx
            )
        return int(digits) * factor


@click.group(
    "quotas",
    invoke_without_command=True,
    epilog="\b\nExamples:\n  batchq quotas\n  batchq quotas set gemini-2.5-flash-lite --rpm 2000 --tpm 2M\n"
    "  batchq quotas set queue:generate --concurrency 100\n  batchq quotas reset gemini-2.5-flash-lite\n"
    "  batchq quotas pause gemini-2.5-flash-lite",
)
@json_option
@click.pass_context
def quotas_command(ctx: click.Context, as_json: bool) -> None:
    """See how much of each quota is used; change limits while everything runs."""
    if ctx.invoked_subcommand is None:
        _show(as_json)


@quotas_command.command("show")
@json_option
def show_command(as_json: bool) -> None:
    """List the quotas that were ever used and those of open jobs, with the last minute's use."""
    _show(as_json)


@quotas_command.command("set")
@name_argument
@click.option("--rpm", type=_Limit(), help="Requests a minute; none: no limit.")
@click.option("--tpm", type=_Limit(), help="Input tokens a minute.")
@click.option("--rpd", type=_Limit(), help="Requests a day, from midnight Pacific time.")
@click.option("--concurrency", type=_Limit(), help="Calls in flight.")
@json_option
def set_command(
    name: str, rpm: int | None, tpm: int | None, rpd: int | None, concurrency: int | None, as_json: bool
) -> None:
    """Limits that hold over the settings of all workers, until `reset`."""
    if (rpm, tpm, rpd, concurrency) == (None,) * 4:
        raise click.UsageError("give at least one of --rpm, --tpm, --rpd, --concurrency")
    _change(
        name,
        as_json,
        lambda quotas, full: quotas.set(
            full,
            requests_per_minute=rpm,
            tokens_per_minute=tpm,
            requests_per_day=rpd,
            concurrency=concurrency,
        ),
        new=True,
    )


@quotas_command.command("reset")
@name_argument
@json_option
def reset_command(name: str, as_json: bool) -> None:
    """Forget what was set and what was learnt; the workers' settings hold again."""
    _change(name, as_json, lambda quotas, full: quotas.reset(full))


@quotas_command.command("pause")
@name_argument
@json_option
def pause_command(name: str, as_json: bool) -> None:
    """Send out nothing of QUOTA until it is resumed."""
    _change(name, as_json, lambda quotas, full: quotas.pause(full), new=True)


@quotas_command.command("resume")
@name_argument
@json_option
def resume_command(name: str, as_json: bool) -> None:
    """Lift a pause, and a hold after refusals too."""
    _change(name, as_json, lambda quotas, full: quotas.resume(full))


def _show(as_json: bool) -> None:
    from batchq.cli import opening, say

    with opening.client() as client:
        views = client.quotas.show()
    if as_json:
        for view in views:
            say.json_line(document(view))
    elif views:
        say.table(HEADS, [_row(view) for view in views])
    else:
        say.note("no quota was used yet; workers with settings of their own show up with their first call")


def _change(name: str, as_json: bool, what: Callable[[Quotas, str], QuotaView], *, new: bool = False) -> None:
    from batchq.cli import opening, say

    with opening.client() as client:
        meant = client.quotas.which(name, new=new)
        if meant.why:
            say.note(f"{meant.name}: {meant.why}")
        view = what(client.quotas, meant.name)
    if as_json:
        say.document(document(view))
    else:
        say.table(HEADS, [_row(view)])


def document(view: QuotaView) -> dict[str, Any]:
    """A quota as --json shows it. Limits that are null do not exist, of `set`, 0 is "no limit"; tokens that are
    null are not counted."""
    return {
        "name": view.name,
        "workers": view.workers,
        "limits": _limits(view.limits),
        "set": _limits(view.set),
        "configured": _limits(view.configured),
        "learnt": _limits(view.learnt),
        "used": {
            "requests": view.used_requests,
            "tokens": view.used_tokens,
            "requests_today": view.used_today,
            "in_flight": view.in_flight,
        },
        "paused": view.paused,
        "held_s": view.held_ms / 1000,
        "room_s": view.room_ms / 1000,
        "why": view.why or None,
        "slowed_to_rpm": view.slowed_rpm or None,
    }


def _limits(limits: QuotaLimits) -> dict[str, int | None]:
    from batchq.core.limits import DIMENSIONS

    return {name: getattr(limits, name) for name in DIMENSIONS}


def _row(view: QuotaView) -> tuple[str, ...]:
    limits = view.limits
    return (
        view.name,
        ABSENT if view.workers is None else f"{view.workers:,}",
        _used(view.used_requests, limits.requests_per_minute),
        _used(view.used_tokens, limits.tokens_per_minute),
        _used(view.used_today, limits.requests_per_day),
        _used(view.in_flight, limits.concurrency),
        _source(view),
        _state(view),
    )


def _used(used: int | None, limit: int | None) -> str:
    if used is None:
        return ABSENT
    return f"{used:,}" if limit is None else f"{used:,} of {limit:,}"


def _source(view: QuotaView) -> str:
    from batchq.core.limits import DIMENSIONS, QuotaLimits

    sources = (("set", view.set), ("settings", view.configured), ("learnt", view.learnt))
    found = [
        word for word, limits in sources if any(getattr(limits, name) is not None for name in DIMENSIONS)
    ]
    return ", ".join(found) or ("finding out" if view.configured != QuotaLimits() else "none")


def _state(view: QuotaView) -> str:
    from batchq.core.permits import BINDINGS
    from batchq.core.wording import duration

    if view.paused:
        return BINDINGS["paused"]
    if view.held_ms:
        return f"{BINDINGS.get(view.why, view.why)}, {duration(view.held_ms / 1000)} more"
    if view.why:
        return BINDINGS[view.why]
    if view.room_ms:
        return f"its window is full, room in about {duration(round(view.room_ms / 1000))}"
    return f"slowed to {view.slowed_rpm:,} a minute" if view.slowed_rpm else "open"
