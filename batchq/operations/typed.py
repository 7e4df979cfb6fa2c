"""Types of an operation's input and output: values are checked against them, field by field."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from batchq.core.records import Answer
from batchq.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

    from batchq.core.records import Json

SHOWN = 3  # faults of one value that are told

OBJECTS = (dict, Mapping, MutableMapping)
ANYTHING = (None, Any, object, type(None), Answer)
NO_OBJECTS = (str, bytes, int, float, bool, list, tuple, set, frozenset)


class Misfit(Exception):
    """A value is not of the type; says which fields, and what is wrong with them."""


class Type:
    """An annotation that Pydantic understands: a model, a dataclass, a TypedDict, …"""

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._adapter = adapter

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what `give` gives."""
        return self._adapter.json_schema(mode="serialization")

    def take(self, value: Any) -> Any:
        """The value as the type has it. Raises Misfit."""
        from pydantic import ValidationError

        try:
            return self._adapter.validate_python(value)
        except ValidationError as exc:
            raise Misfit(_told(exc)) from None

    def give(self, value: Any) -> Json:
        """The value as JSON has it. Raises Misfit."""
        from batchq.operations.schemas import misfit

        given: Json = self._adapter.dump_python(self.take(value), mode="json", by_alias=True, warnings=False)
        # Pydantic believes an instance of a class; a dataclass never looked at what it was made with
        if problem := misfit(given, self.schema):
            raise Misfit(problem)
        return given


def types_of(function: Callable[..., Any], where: str) -> tuple[Type | None, Type | None]:
    """What the function takes and gives; None: anything. Raises ConfigurationError for what no item can be."""
    try:
        hints = get_type_hints(function, include_extras=True)
        first = next(iter(inspect.signature(function).parameters), "")
    except Exception:  # annotations may be anything
        return None, None
    takes = hints.get(first)
    kind = get_origin(takes) or takes
    if kind in NO_OBJECTS:
        raise ConfigurationError(
            f"operation {where} takes a {getattr(kind, '__name__', kind)}, and an item's input is an object: annotate "
            "a Pydantic model, a dataclass or a TypedDict, or nothing"
        )
    return _type(takes, where), _type(hints.get("return"), where)


def _type(annotation: Any, where: str) -> Type | None:
    arguments = set(get_args(annotation))
    plain = (get_origin(annotation) or annotation) in OBJECTS and arguments <= {str, Any, object}
    if plain or annotation in ANYTHING or Answer in arguments:
        return None
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return Type(TypeAdapter(annotation))
    except PydanticUserError as exc:
        if exc.code in (None, "schema-for-unknown-type", "class-not-fully-defined"):
            return None  # of a kind that Pydantic knows nothing of
        raise ConfigurationError(
            f"operation {where}: its type {annotation!r} cannot be used: {exc}"
        ) from None


def _told(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = []
    for fault in faults[:SHOWN]:
        where = ".".join(str(step) for step in fault["loc"])
        told.append(f"{where}: {fault['msg']}" if where else str(fault["msg"]))
    if len(faults) > SHOWN:
        told.append(f"and {len(faults) - SHOWN} more")
    return "; ".join(told)
