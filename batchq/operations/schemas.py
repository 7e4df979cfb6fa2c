"""JSON Schemas of jobs: is it one, and does an answer fit it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from batchq.core.records import Json

KEPT = 64  # compiled schemas a process; a process works on a few jobs at a time

_compiled: dict[str, Validator] = {}
_lock = threading.Lock()


def check_schema(schema: Any) -> str | None:
    """What makes this no JSON Schema, and where; None: it is one."""
    if not isinstance(schema, dict):
        return f"the schema must be a JSON object, not {type(schema).__name__}"
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as exc:  # jsonschema's best match, which is the deepest
        return f"the schema is no JSON Schema: {_path(exc.absolute_path)}: {_short(exc.message)}"
    return _dead_reference(schema)


def misfit(data: Json, schema: Mapping[str, Any]) -> str | None:
    """Where and how an answer does not fit; None: it fits."""
    try:
        found = best_match(_validator(schema).iter_errors(data))
    except RecursionError:
        return "the whole: it is nested deeper than the schema can be followed"
    return None if found is None else f"{_path(found.absolute_path)}: {_short(found.message)}"


def _validator(schema: Mapping[str, Any]) -> Validator:
    key = json.dumps(schema, sort_keys=True)
    validator = _compiled.get(key)
    if validator is None:
        validator = validator_for(schema, default=Draft202012Validator)(schema)
        with _lock:
            while len(_compiled) >= KEPT:
                _compiled.pop(next(iter(_compiled)))
            _compiled[key] = validator
    return validator


# Keywords whose value is data: what looks like a schema in there is none.
DATA = frozenset({"const", "enum", "default", "examples"})


def _dead_reference(schema: Mapping[str, Any]) -> str | None:
    """The first $ref that leads nowhere: the schema of schemas lets it pass, and an answer would trip over it."""
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = Resource.from_contents(schema, DRAFT202012)
    resolver = Registry().with_resource("", resource).resolver()
    stack: list[Any] = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        if not isinstance(node, Mapping) or (node is not schema and "$id" in node):
            continue  # below an $id references mean something else; leave those to the validator
        reference = node.get("$ref")
        if isinstance(reference, str):
            try:
                resolver.lookup(reference)
            except (Unresolvable, ValueError):
                return f"the schema's $ref {reference!r} leads nowhere: define it under $defs"
        stack.extend(value for keyword, value in node.items() if keyword not in DATA)
    return None


def _path(steps: Any) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return path.removeprefix(".") or "the whole"


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
