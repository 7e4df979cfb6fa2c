"""What a submission asks for, and what it is answered."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from batchq.core.records import JsonObject
from batchq.errors import Complaint, InputError

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
FilesMode = Literal["path", "inline"]

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
    "deadline": ((int, float), _NUMBER),
    "metadata": (Mapping, _OBJECT),
    "webhook": (str, _TEXT),
    "retention_s": ((int, float), _NUMBER),
}
_FILLED = (
    "operation",
    "model",
    "idempotency_key",
    "webhook",
)  # an unset variable of a script must not pass for one


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
    deadline: float | None = None  # Unix seconds
    metadata: JsonObject = field(default_factory=dict)
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
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{name} must be {words}, not {type(value).__name__}")
        if isinstance(value, str) and name in _FILLED and not value.strip():
            raise InputError(f"{name} is empty: give one, or leave it out")
        if isinstance(value, Mapping):
            _check_json(name, value)
        if isinstance(value, int | float) and not math.isfinite(value):
            raise InputError(f"{name} must be a finite number of seconds, not {value}")
    retention_s = given.get("retention_s")
    if retention_s is not None and retention_s <= 0:
        raise InputError(f"retention_s {retention_s:g} must be above 0: leave it out for the setting's")


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
