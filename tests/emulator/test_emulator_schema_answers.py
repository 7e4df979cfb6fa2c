"""Answers under a schema fit it, whatever the schema, and differ from prompt to prompt."""

from __future__ import annotations

import datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchq.emulator import expected_json
from batchq.emulator.schema_answers import Unfit

NAMES = st.sampled_from(["name", "invoice_date", "total", "currency", "quantity", "lineItems", "id", "note"])


def texts() -> st.SearchStrategy[dict[str, Any]]:
    bounded = st.tuples(st.integers(0, 40), st.integers(0, 60)).map(
        lambda sizes: {"type": "string", "minLength": sizes[0], "maxLength": sizes[0] + sizes[1]}
    )
    patterns = st.sampled_from(
        [r"^[A-Z]{3}-\d{4}$", r"^(a|bc)+$", r"\w+@\w+\.com", r"^[^a-z]{2,5}$", r"^(\d)\1$"]
    )
    formats = st.sampled_from(["date", "date-time", "email", "uri", "uuid", "ipv4", "time"])
    return st.one_of(
        st.just({"type": "string"}),
        bounded,
        patterns.map(lambda pattern: {"type": "string", "pattern": pattern}),
        formats.map(lambda form: {"type": "string", "format": form}),
        st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True).map(
            lambda values: {"type": "string", "enum": values}
        ),
    )


def numbers() -> st.SearchStrategy[dict[str, Any]]:
    ends = st.tuples(st.integers(-1000, 1000), st.integers(2, 500))
    return st.one_of(
        st.sampled_from([{"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"const": 7}]),
        ends.map(lambda e: {"type": "integer", "minimum": e[0], "maximum": e[0] + e[1]}),
        ends.map(lambda e: {"type": "integer", "exclusiveMinimum": e[0], "exclusiveMaximum": e[0] + e[1]}),
        ends.map(lambda e: {"type": "number", "exclusiveMinimum": e[0], "exclusiveMaximum": e[0] + e[1]}),
        ends.map(lambda e: {"type": "number", "minimum": e[0]}),
        ends.map(lambda e: {"type": "integer", "maximum": e[0]}),
        st.integers(2, 9).map(
            lambda step: {"type": "integer", "multipleOf": step, "minimum": 3, "maximum": 40}
        ),
    )


def containers(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.dictionaries(NAMES, inner, max_size=4).flatmap(
        lambda properties: st.fixed_dictionaries(
            {
                "type": st.sampled_from(["object", ["object", "null"]]),
                "properties": st.just(properties),
                "required": st.lists(st.sampled_from(sorted(properties) or ["note"]), unique=True)
                if properties
                else st.just([]),
                "additionalProperties": st.booleans(),
            }
        )
    )
    arrays = st.tuples(inner, st.integers(0, 4), st.integers(0, 3)).map(
        lambda one: {"type": "array", "items": one[0], "minItems": one[1], "maxItems": one[1] + one[2]}
    )
    maps = inner.map(lambda one: {"type": "object", "additionalProperties": one, "minProperties": 2})
    choices = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    merged = inner.map(lambda one: {"allOf": [{"title": "merged"}, one]})
    return st.one_of(objects, arrays, maps, choices, merged)


SCHEMAS = st.recursive(st.one_of(texts(), numbers()), containers, max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, st.text(max_size=20))
def test_an_answer_fits_the_json_schema_it_was_asked_under(schema: dict[str, Any], prompt: str) -> None:
    jsonschema.Draft202012Validator(schema).validate(expected_json(schema, prompt))


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "label": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["label", "children", "parent"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize("prompt", ["a", "b", "c", "d"])
def test_a_schema_that_refers_to_itself_ends(prompt: str) -> None:
    jsonschema.Draft202012Validator(TREE).validate(expected_json(TREE, prompt))


INVOICE = {
    "type": "OBJECT",
    "properties": {
        "supplier": {"type": "STRING"},
        "invoice_date": {"type": "STRING", "format": "date", "nullable": True},
        "currency": {"type": "STRING", "enum": ["EUR", "USD"]},
        "total": {"type": "NUMBER", "minimum": "0"},
        "line_items": {
            "type": "ARRAY",
            "min_items": "1",
            "items": {
                "type": "OBJECT",
                "properties": {"description": {"type": "STRING"}, "quantity": {"type": "INTEGER"}},
                "required": ["description", "quantity"],
            },
        },
        "note": {"any_of": [{"type": "STRING"}, {"type": "NULL"}]},
    },
    "property_ordering": ["line_items", "supplier"],
    "required": ["supplier", "total", "line_items"],
}


def test_geminis_own_schema_form_is_followed_to_the_letter() -> None:
    nulls = set()
    for number in range(60):
        answer = expected_json(INVOICE, f"invoice {number}")
        assert list(answer)[:2] == ["line_items", "supplier"], "propertyOrdering comes first"
        assert answer["currency"] in ("EUR", "USD")
        assert answer["total"] > 0
        assert 1 <= len(answer["line_items"]) <= 3
        assert all(isinstance(row["quantity"], int) for row in answer["line_items"])
        if answer["invoice_date"] is not None:
            datetime.date.fromisoformat(answer["invoice_date"])
        nulls |= {name for name in ("invoice_date", "note") if answer[name] is None}
    assert nulls == {"invoice_date", "note"}, "what may be null is null now and then"


def test_the_same_prompt_gives_the_same_answer_and_another_prompt_another() -> None:
    answers = [expected_json(INVOICE, f"invoice {number}") for number in range(100)]
    assert answers == [expected_json(INVOICE, f"invoice {number}") for number in range(100)]
    assert len({answer["supplier"] for answer in answers}) == 100
    with_file = expected_json(INVOICE, "invoice 1", media=[b"a scan"])
    assert with_file["supplier"] not in {answer["supplier"] for answer in answers}


def test_unique_items_differ() -> None:
    schema = {"type": "array", "items": {"enum": list("abcd")}, "minItems": 4, "uniqueItems": True}
    for number in range(20):
        assert sorted(expected_json(schema, f"p{number}")) == list("abcd")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/nowhere"},
        {"type": "banana"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True},
    ],
)
def test_a_schema_that_nothing_fits_is_an_error_and_not_a_wrong_answer(schema: dict[str, Any]) -> None:
    with pytest.raises(Unfit):
        expected_json(schema, "p")
