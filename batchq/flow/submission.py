"""What a submission asks for, and what it is answered."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

from batchq.core.records import JsonObject
from batchq.errors import Complaint, InputError

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
FilesMode = Literal["path", "inline"]
LONGEST_RETENTION_S = 100 * 366 * 86_400  # far below what an expiry in milliseconds can hold

_TEXT, _NUMBER, _WHOLE, _OBJECT = "a text", "a number", "a whole number", "an object"
ARGUMENTS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "operation": (str, _TEXT),
    "model": (str, _TEXT),
    "options": (Mapping, _OBJECT),
    "schema": (Mapping, _OBJECT),
    "prompt": (str, _TEXT),
    "source": (str, _TEXT),  # of a message: the list's address
    "job_id": (str, _TEXT),
    "idempotency_key": (str, _TEXT),
    "priority": (int, _WHOLE),
    "rpm": (int, _WHOLE),
    "tpm": (int, _WHOLE),
    "concurrency": (int, _WHOLE),
    "max_cost": ((int, float), _NUMBER),
    "not_before": ((int, float), _NUMBER),
    "deadline": ((int, float), _NUMBER),
    "metadata": (Mapping, _OBJECT),
    "all_or_nothing": (bool, "true or false"),
    "destination": (str, _TEXT),
    "webhook": (str, _TEXT),
    "retention_s": ((int, float), _NUMBER),
}
_FILLED = (
    "operation",
    "model",
    "idempotency_key",
    "webhook",
    "destination",
)  # an unset variable of a script must not pass for one


class PydanticModel(Protocol):
    """What is asked of a Pydantic model, which need not be imported for it."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        """Its JSON Schema."""


Schema = Mapping[str, Any] | type[PydanticModel]


class SubmitOptions(TypedDict, total=False):
    """What `Client.submit` takes beside the items. Left out or None: the default, or no limit."""

    operation: str  # "generate"
    model: str | None  # the operation's
    prompt: str | None  # a template for dict rows, or the instruction that goes with each file or text
    schema: Schema | None
    options: Mapping[str, Any] | None
    idempotency_key: str | None  # the same key gives the same job
    job_id: str | None
    priority: int  # 1 to 10, weight beside other jobs; 5
    rpm: int | None  # requests a minute, fleet-wide
    tpm: int | None  # input tokens a minute
    concurrency: int | None  # calls in flight
    max_cost: float | None  # USD; the job pauses before it is passed
    not_before: float | None  # Unix seconds; nothing of it goes out before
    deadline: float | None  # Unix seconds; what is pending then is cancelled
    all_or_nothing: bool  # results are published only if every item succeeds, else the job fails
    destination: (
        str | None
    )  # a URL (of a file or a database) at which workers write the results when the job ends
    webhook: str | None  # an https address that hears of the job's pauses and its end
    metadata: Mapping[str, Any] | None
    retention_s: float | None  # after the end; the settings'
    files: FilesMode  # "inline"
    strict: bool  # refuse the input if any item cannot be sent
    skip_bad: bool  # lines that break the list become failed items
    preflight: bool  # ask model and key first, where this process has a key; True


NOT_OF_THE_JOB = ("prompt", "retention_s", "preflight")


@dataclass(frozen=True, slots=True)
class Submission:
    """What a job is to be, apart from its items. None: the default, or no limit."""

    operation: str = "generate"
    model: str | None = None
    options: JsonObject = field(default_factory=dict)
    schema: JsonObject | None = None
    job_id: str | None = None
    idempotency_key: str | None = None
    priority: int = 5
    rpm: int | None = None
    concurrency: int | None = None
    tpm: int | None = None
    max_cost: float | None = None  # USD
    not_before: float | None = None  # Unix seconds
    deadline: float | None = None  # Unix seconds
    metadata: JsonObject = field(default_factory=dict)
    all_or_nothing: bool = False
    destination: str | None = None  # a URL
    webhook: str | None = None  # the address that hears of its pauses and its end
    run: str | None = None  # digest of source and options, by which `batchq run` finds its unfinished job
    retention_ms: int = 0  # after the end; 0: for ever
    files: FilesMode = "inline"
    strict: bool = False  # items with a problem refuse the submission too
    skip_bad: bool = False  # lines that break the list become failed items
    project: str | None = None  # the only one whose workers may ask its models; None: whichever
    source: str = ""  # what the user named, for lists and messages


def check_arguments(given: Mapping[str, Any]) -> None:
    """What programs give may be anything. Raises InputError that names the argument; None is none given."""
    for name, value in given.items():
        if value is None:
            continue
        kind, words = ARGUMENTS[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"{name} must be {words}, not {type(value).__name__}")
        if isinstance(value, str) and name in _FILLED and not value.strip():
            raise InputError(f"{name} is empty: give one, or leave it out")
        if isinstance(value, Mapping):
            _check_json(name, value)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{name} must be a finite number, not {value}")
    retention_s = given.get("retention_s")
    if retention_s is not None and not 0 < retention_s <= LONGEST_RETENTION_S:
        raise InputError(
            f"retention_s {retention_s:g} must be above 0 and at most a hundred years: leave it out for the setting's"
        )


def submission_of(options: SubmitOptions, retention_ms: int) -> Submission:
    """`retention_ms` where the options name none. Raises InputError, and TypeError for an option there is none of."""
    for name in options:
        if name not in SubmitOptions.__annotations__:
            raise TypeError(f"there is no option {name!r}: {', '.join(SubmitOptions.__annotations__)}")
    given: dict[str, Any] = {**options, "schema": _as_json_schema(options.get("schema"))}
    check_arguments({name: value for name, value in given.items() if name in ARGUMENTS})
    fields = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in given.items()
        if value is not None and name not in NOT_OF_THE_JOB
    }
    kept_s = options.get("retention_s")
    return Submission(**fields, retention_ms=retention_ms if kept_s is None else int(kept_s * 1000))  # type: ignore[arg-type]


def _as_json_schema(schema: Schema | None) -> Mapping[str, Any] | None:
    if isinstance(schema, type):
        if not hasattr(schema, "model_json_schema"):
            raise InputError(f"schema {schema.__name__} is no Pydantic model: give one, or a JSON Schema")
        made: Mapping[str, Any] = schema.model_json_schema()
        return made
    return schema


def _check_json(name: str, value: Mapping[str, Any]) -> None:
    try:
        json.dumps(dict(value), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise InputError(f"{name} cannot be written as JSON: {exc}") from None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stored job. `problems` are the items that failed already, the first 20 of `failed`."""

    job_id: str
    total: int
    failed: int
    problems: tuple[Complaint, ...]
    existed: bool  # the same submission was accepted before
