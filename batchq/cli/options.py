"""Options that several commands share, and what run and submit make of theirs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchq.errors import InputError

if TYPE_CHECKING:
    from batchq.flow.submission import FilesMode, Submission
    from batchq.formats import InputSpec

Function = Callable[..., Any]


def filled(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A click callback: an unset variable of a script must not pass for a value."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty: give a value, or leave the option out", ctx=ctx, param=param)
    return value


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
job_argument = click.argument("job_id", metavar="JOB")
out_option = click.option(
    "-o", "--out", metavar="OUT", callback=filled, help="Results file; form by its suffix; - is stdout."
)
format_option = click.option(
    "--format",
    "form",
    metavar="FORM",
    callback=filled,
    help="jsonl, json, csv or parquet, whatever OUT is called.",
)


def max_cost_option(text: str) -> Function:
    return click.option("--max-cost", type=click.FloatRange(0, min_open=True), metavar="USD", help=text)


INPUT_FORMATS = "gemini, openai, batchq, csv, parquet, text or files"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of run and submit, read and checked. None: not given."""

    operation: str = "generate"
    model: str | None = None
    prompt: str | None = None
    schema: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    input_format: str | None = None
    id_field: str | None = None
    glob: str | None = None
    query: str | None = None
    files: str = "auto"  # auto, path or inline
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    priority: int | None = None
    idempotency_key: str | None = None
    max_cost: float | None = None  # USD
    not_before: float | None = None  # Unix seconds
    deadline: float | None = None  # Unix seconds
    all_or_nothing: bool = False
    webhook: str | None = None
    strict: bool = False
    skip_bad: bool = False
    preflight: bool = True

    def spec(self, source: str, roots: tuple[Path, ...]) -> InputSpec:
        from batchq.formats import InputSpec

        return InputSpec(
            source,
            format=self.input_format,
            prompt=self.prompt,
            id_field=self.id_field,
            glob=self.glob,
            query=self.query,
            operation=self.operation,
            roots=tuple(map(str, roots)),
        )

    def submission(
        self, source: str, files: FilesMode, metadata: dict[str, Any], job_id: str | None = None
    ) -> Submission:
        from batchq.flow.submission import Submission
        from batchq.formats import masked

        return Submission(
            operation=self.operation,
            model=self.model,
            options=dict(self.options or {}),
            schema=self.schema,
            job_id=job_id,
            idempotency_key=None if job_id else self.idempotency_key,
            priority=5 if self.priority is None else self.priority,
            rpm=self.rpm,
            tpm=self.tpm,
            concurrency=self.concurrency,
            max_cost=self.max_cost,
            not_before=self.not_before,
            deadline=self.deadline,
            all_or_nothing=self.all_or_nothing,
            webhook=self.webhook,
            metadata=metadata,
            run=self.digest(source),
            files=files,
            strict=self.strict,
            skip_bad=self.skip_bad,
            source=masked(source),
        )

    def digest(self, source: str) -> str:
        """The same for two runs that would make the same job of the same input, whatever its content."""
        from batchq.formats import is_address

        what = [
            source if is_address(source) else os.path.realpath(source),
            self.operation,
            self.model,
            self.options,
            self.schema,
            self.prompt,
            self.input_format,
            self.id_field,
            self.glob,
            self.query,
            self.skip_bad,
            *(["all or nothing"] if self.all_or_nothing else []),
        ]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def job_options(command: Function) -> Function:
    """The options of run and submit; the command gets them as `asked`, a JobOptions."""

    @wraps(command)
    def with_options(**given: Any) -> Any:
        taken = {name: given.pop(name) for name in JobOptions.__dataclass_fields__}
        return command(asked=JobOptions(**taken), **given)

    for option in reversed(_JOB_OPTIONS):
        with_options = option(with_options)
    return with_options


def _parsed(read: Callable[[str], Any]) -> Function:
    """A click callback that leaves None alone."""

    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:  # noqa: ARG001
        return None if value is None else read(value)

    return callback


def _named_values(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> dict[str, Any] | None:
    values: dict[str, Any] = {}
    for one in value:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise click.BadParameter(
                f"{one!r} is no NAME=VALUE, as in --option temperature=0.2", ctx=ctx, param=param
            )
        if name in values:
            raise click.BadParameter(f"{name} is given twice", ctx=ctx, param=param)
        values[name] = _value(text)
    return values or None


def _value(text: str) -> Any:
    """JSON where it is JSON, else the text: temperature=0.2, stop_sequences='["END"]', system_instruction=…"""
    try:
        return json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return text


def read_schema(name: str) -> dict[str, Any]:
    """A JSON Schema from a file. Raises InputError that names it."""
    try:
        raw = Path(name).read_bytes()
    except (OSError, ValueError) as exc:
        why = (exc.strerror or str(exc)).lower() if isinstance(exc, OSError) else str(exc)
        raise InputError(f"--schema {name!r} cannot be read: {why}") from None
    try:
        schema = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"--schema {name!r} is no JSON: {exc}") from None
    from batchq.operations.schemas import check_schema

    problem = check_schema(schema)
    if problem is not None:
        raise InputError(f"--schema {name!r}: {problem}")
    checked: dict[str, Any] = schema
    return checked


def read_time(text: str, option: str) -> float:
    """ "90m", "2h30m" from now, or an ISO time (local where it names no zone), as Unix seconds."""
    spans = _SPAN.findall(text)
    if spans and "".join(number + unit for number, unit in spans) == text:
        return time.time() + sum(float(number) * _SECONDS[unit] for number, unit in spans)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither a duration (90m, 2h, 1d) nor an ISO time (2026-11-22T06:00)",
            param_hint=f"'{option}'",
        ) from None


def _read_begin(text: str) -> float:
    """Of --at. A time that has passed is nothing wrong, a late timer's for one; but it may be a slip."""
    begin = read_time(text.removeprefix("+"), "--at")
    if begin < time.time() - 1:
        from batchq.cli import say

        say.note(f"--at {text}: that time has passed, and the job begins at once")
    return begin


_JOB_OPTIONS = (
    click.option(
        "--operation",
        default="generate",
        show_default=True,
        callback=filled,
        help="What is done to each item.",
    ),
    click.option("--model", metavar="NAME", callback=filled, help="Model; default: the operation's."),
    click.option(
        "--prompt",
        metavar="TEMPLATE",
        help="Prompt of each row: {field} of a row, {text} of a line; {{ and }} are literal. "
        "With files: the instruction that goes along with each.",
    ),
    click.option(
        "--schema", metavar="FILE", callback=_parsed(read_schema), help="JSON Schema that answers must fit."
    ),
    click.option(
        "--option",
        "options",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_named_values,
        help="A field of GenerateContentConfig, such as temperature=0.2; may be repeated.",
    ),
    click.option(
        "--input-format", metavar="FORM", callback=filled, help=f"{INPUT_FORMATS}; default: by suffix."
    ),
    click.option("--id-field", metavar="NAME", callback=filled, help="Field or column that holds the ids."),
    click.option(
        "--glob", metavar="PATTERN", callback=filled, help="Which files of a folder, such as '*.png'."
    ),
    click.option(
        "--query", metavar="SQL", callback=filled, help="What to read of a database URL: a row is an item."
    ),
    click.option(
        "--files",
        type=click.Choice(["auto", "path", "inline"]),
        default="auto",
        show_default=True,
        help="Send files by path, or their bytes; auto: by path where every worker may read them.",
    ),
    click.option(
        "--rpm", type=click.IntRange(1), metavar="N", help="At most N requests a minute for this job."
    ),
    click.option(
        "--tpm", type=click.IntRange(1), metavar="N", help="At most N input tokens a minute for this job."
    ),
    click.option(
        "--concurrency", type=click.IntRange(1), metavar="N", help="At most N calls of this job in flight."
    ),
    click.option(
        "--priority", type=click.IntRange(1, 10), metavar="1-10", help="Weight beside other jobs (5)."
    ),
    click.option(
        "--idempotency-key", metavar="KEY", callback=filled, help="The same key gives the same job."
    ),
    max_cost_option("The job pauses before it has cost USD, as far as the price table knows."),
    click.option(
        "--at",
        "not_before",
        metavar="WHEN",
        callback=_parsed(_read_begin),
        help="+2h or an ISO time (2026-11-22T06:00+01:00): nothing of the job goes out before.",
    ),
    click.option(
        "--deadline",
        metavar="WHEN",
        callback=_parsed(lambda text: read_time(text, "--deadline")),
        help="90m, 2h or an ISO time; what is pending then is cancelled.",
    ),
    click.option(
        "--webhook",
        metavar="URL",
        callback=filled,
        help="https address that hears of the job's pauses and its end.",
    ),
    click.option(
        "--all-or-nothing",
        is_flag=True,
        help="Results are published only if every item succeeds; else the job fails.",
    ),
    click.option("--strict", is_flag=True, help="Refuse the input if any item cannot be sent."),
    click.option("--skip-bad", is_flag=True, help="Lines that break the list become failed items."),
    click.option(
        "--preflight/--no-preflight",
        default=True,
        help="Ask key and model before anything is stored (default, where this process has a key).",
    ),
)
