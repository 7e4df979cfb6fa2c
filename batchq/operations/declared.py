"""What an operation of the user's says of itself where it is defined: the defaults under its settings."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from batchq.core.limits import DIMENSIONS
from batchq.errors import ConfigurationError

if TYPE_CHECKING:
    from batchq.sections import OperationSettings, QuotaSettings
    from batchq.settings import Settings

# as submit and `batchq quotas set` call them, and as the settings do
LIMITS = {
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "rpd": "requests_per_day",
    "concurrency": "concurrency",
}

S = TypeVar("S", "OperationSettings", "QuotaSettings")


class Defaults(TypedDict, total=False):
    """None: nothing is said. The first four are limits of the operation's queue, fleet-wide; the others stand in
    `[operations.NAME]` (docs/settings.md)."""

    rpm: int | None
    tpm: int | None
    rpd: int | None
    concurrency: int | None
    queue: str | None
    max_attempts: int | None
    timeout_s: float | None
    backoff_s: float | None
    backoff_max_s: float | None
    max_rate_limit_wait_s: float | None


@dataclass(frozen=True, slots=True)
class Declared:
    """Only what was said counts as set in these."""

    operation: OperationSettings
    limits: QuotaSettings


def declared(where: str, given: Defaults, reserved: Container[object]) -> Declared | None:
    """None: nothing is said. `reserved` are queues that are none of operations. Raises ConfigurationError."""
    said: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in said:
        if name not in Defaults.__annotations__:
            known = ", ".join(Defaults.__annotations__)
            raise ConfigurationError(
                f"operation {where}: there is no {name!r}: correct it, or leave it out ({known})"
            )
    if not said:
        return None
    if said.get("queue") in reserved:
        raise ConfigurationError(
            f"operation {where}: queue={said['queue']!r} is a queue of batchq's own: choose another"
        )
    from pydantic import ValidationError

    from batchq.sections import OperationSettings, QuotaSettings

    try:
        return Declared(
            OperationSettings.model_validate(
                {name: value for name, value in said.items() if name not in LIMITS}, strict=True
            ),
            QuotaSettings.model_validate(
                {LIMITS[name]: value for name, value in said.items() if name in LIMITS}, strict=True
            ),
        )
    except ValidationError as exc:
        raise ConfigurationError(f"operation {where}: {_wrong(exc, said)}") from None


def under(settings: Settings, operations: Mapping[str, Declared]) -> Settings:
    """The settings, and under them what the operations say: what is set stands, field by field.

    Limits are those of the queue; where several operations of one say some, the lowest. Raises ConfigurationError.
    """
    own, limits = dict(settings.operations), dict[str, "QuotaSettings"]()
    for name, one in operations.items():
        own[name] = _over(one.operation, settings.operations.get(name))
        if one.limits.model_fields_set:
            queue = own[name].queue or name
            limits[queue] = _lowest(one.limits, limits.get(queue))
    queues = {queue: _over(said, settings.queues.get(queue)) for queue, said in limits.items()}
    return settings.with_tables(own, {**settings.queues, **queues})


def _over(said: S, set_: S | None) -> S:
    fields = said.model_dump(exclude_unset=True)
    return type(said)(**{**fields, **(set_.model_dump(exclude_unset=True) if set_ is not None else {})})


def _lowest(one: QuotaSettings, other: QuotaSettings | None) -> QuotaSettings:
    if other is None:
        return one
    lowest = {}
    for name in DIMENSIONS:
        values = [value for limits in (one, other) if (value := getattr(limits, name)) is not None]
        if values:
            lowest[name] = min(values)
    return type(one)(**lowest)


def _wrong(error: Any, said: Mapping[str, Any]) -> str:
    """The first thing that is wrong, by the name that was written."""
    first = error.errors()[0]
    names = {field: name for name, field in LIMITS.items()}
    name = names.get(first["loc"][0], first["loc"][0])
    message = first["msg"]
    return f"{name}={said[name]!r}: {message[:1].lower()}{message[1:]}; correct it, or leave it out"
