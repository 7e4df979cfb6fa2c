"""Results as rows of plain columns: the same nine for every job, and one for each plain field of its schema."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from batchq.core.records import Json, JsonObject, Result
from batchq.formats.writers.lines import encode, result_row, utf8

Kind = Literal["text", "integer", "number", "boolean", "json", "vector"]

_MAX_NAME_BYTES = 63  # PostgreSQL cuts longer names off
_MAX_FIELDS = 200
_MAX_LEVELS = 5
_INTEGERS = range(-(2**63), 2**63)
_KINDS: dict[Any, Kind] = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `path` leads to its value in the answer's data; None: it is one of the nine."""

    name: str
    kind: Kind
    path: tuple[str, ...] | None = None


Fields = tuple[Column, ...]

BASE: Fields = (
    Column("id", "text"),
    Column("status", "text"),
    Column("text", "text"),
    Column("data", "json"),
    Column("error", "text"),
    Column("attempts", "integer"),
    Column("duration_ms", "integer"),
    Column("tokens", "integer"),
    Column("cost", "number"),
)
COLUMNS = tuple(column.name for column in BASE)


VECTOR = Column(
    "embedding", "vector", ()
)  # in parquet, where the job has embeddings; elsewhere they are `data`


def columns_of(fields: Fields) -> Fields:
    return BASE + fields


def flat_fields(schema: Mapping[str, Any] | None) -> Fields:
    """A column for each field of a job's JSON Schema, `data_` and its path joined by `_`; lists are JSON.

    A field is left to `data` alone where its name would be longer than a database's may, or be another one's
    but for upper and lower case. None, or no object: no column.
    """
    if schema is None:
        return ()
    taken: dict[str, Column] = {}
    for column in _walk(schema, schema, ()):
        if len(taken) < _MAX_FIELDS and _fit(column.name):
            taken.setdefault(column.name.lower(), column)
    return tuple(taken.values())


def flat_row(result: Result, fields: Fields) -> JsonObject:
    """A value for each column, None where there is none: no JSON value but text, whole number, float, boolean, and the
    list of a vector."""
    row = result_row(result)
    error, data = row["error"], row["data"]
    row["error"] = None if error is None else f"{error['status']}: {error['message']}"
    for column in fields:
        assert column.path is not None
        row[column.name] = _at(data, column.path)
        if column is VECTOR:
            row[column.name] = data if "embedding" in (result.response or {}) else None
            row["data"] = None if row[column.name] is data else data
    return {column.name: _plain(row[column.name], column.kind) for column in columns_of(fields)}


def _walk(schema: Mapping[str, Any], node: Any, path: tuple[str, ...]) -> Iterator[Column]:
    node = _meant(schema, node)
    properties = node.get("properties") if isinstance(node, Mapping) else None
    if isinstance(properties, Mapping) and properties and len(path) < _MAX_LEVELS:
        for name, one in properties.items():
            yield from _walk(schema, one, (*path, str(name)))
    elif path:
        yield Column("_".join(("data", *path)), _kind(node), path)


def _meant(schema: Mapping[str, Any], node: Any) -> Any:
    """A field's own schema behind `$ref` and "or null", as Pydantic writes optional and nested models."""
    for _ in range(_MAX_LEVELS):
        if not isinstance(node, Mapping):
            return node
        choices = node.get("anyOf", node.get("oneOf"))
        reference = node.get("$ref")
        if isinstance(choices, list):
            real = [one for one in choices if not (isinstance(one, Mapping) and one.get("type") == "null")]
            if len(real) != 1:
                return node
            node = real[0]
        elif isinstance(reference, str) and reference.startswith("#/"):
            node = schema
            for step in reference[2:].split("/"):
                node = node.get(step) if isinstance(node, Mapping) else None
        else:
            return node
    return None


def _kind(node: Any) -> Kind:
    kind = node.get("type") if isinstance(node, Mapping) else None
    if isinstance(kind, list):
        kind = next(iter(kind), None) if len(kind := [one for one in kind if one != "null"]) == 1 else None
    return _KINDS.get(kind, "json") if isinstance(kind, str) else "json"


def _fit(name: str) -> bool:
    return name.isprintable() and len(name.encode("utf-8", "surrogatepass")) <= _MAX_NAME_BYTES


def _at(data: Json, path: tuple[str, ...]) -> Json:
    for step in path:
        if not isinstance(data, Mapping):
            return None
        data = data.get(step)
    return data


def _plain(value: Json, kind: Kind) -> Json:
    if value is None:
        return None
    if kind == "vector":
        return value
    if kind == "json":
        return encode(value).decode()
    if kind == "text":
        return utf8(value).decode() if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    return _number(value, kind)


def _number(value: Json, kind: Kind) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "integer":
        whole = (
            int(value) if isinstance(value, int) or value.is_integer() else None
        )  # JSON's 5.0 is an integer
        return whole if whole is not None and whole in _INTEGERS else None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
