"""What embed refuses before anything is stored, and what it makes of an answer. The calls are in tests/packs."""

from __future__ import annotations

from typing import Any

import pytest

from batchq.errors import Unavailable
from batchq.operations import registry
from batchq.operations.base import PackedOperation
from batchq.providers.gemini.vectors import vectors_of

EMBED = registry.get("embed")


@pytest.mark.parametrize(
    ("input", "problem"),
    [
        ({"text": "a"}, None),
        ({"prompt": "a", "output_dimensionality": 256}, None),
        ({}, "nothing to embed"),
        ({"file": "a.txt"}, "nothing to embed"),
        ({"text": "a", "prompt": "b"}, "two texts"),
        ({"text": " "}, "text is empty"),
        ({"text": ["a"]}, "text must be a text"),
        ({"text": "a", "output_dimensionality": 4_000}, "from 1 to 3072"),
        ({"text": "a", "dimensions": 4}, "unknown field 'dimensions'"),
    ],
)
def test_an_item_has_one_text(input: dict[str, Any], problem: str | None) -> None:
    found = EMBED.check(input, None)
    assert found is None if problem is None else problem in (found or "")


@pytest.mark.parametrize(
    ("options", "schema", "problem"),
    [
        ({"outputDimensionality": 256, "task_type": "CLUSTERING"}, None, None),
        ({"task_type": "RETRIEVAL_DOCUMENT", "title": "Lamps"}, None, None),
        ({"temperature": 0}, None, "option temperature is none of embed"),
        ({"output_dimensionality": 0}, None, "from 1 to 3072"),
        ({"output_dimensionality": True}, None, "from 1 to 3072"),
        ({"task_type": "SEARCH"}, None, "RETRIEVAL_QUERY"),
        ({"title": "Lamps"}, None, "RETRIEVAL_DOCUMENT only"),
        ({}, {"type": "object"}, "leave the schema out"),
    ],
)
def test_a_jobs_options_are_those_of_embeddings(
    options: dict[str, Any], schema: dict[str, Any] | None, problem: str | None
) -> None:
    found = EMBED.check_job(options, schema)
    assert found is None if problem is None else problem in (found or "")


def test_only_embed_goes_in_packs() -> None:
    packed = [name for name in registry.names() if isinstance(registry.get(name), PackedOperation)]
    assert packed == ["embed"]


@pytest.mark.parametrize(
    ("answer", "tokens", "total"),
    [
        ({"embeddings": [{"values": [1, 0.5]}], "usageMetadata": {"promptTokenCount": 3}}, [], 3),
        ({"embedding": {"values": [1, 0.5]}}, [], 0),
        (
            {"predictions": [{"embeddings": {"values": [1, 0.5], "statistics": {"token_count": 2.0}}}]},
            [2],
            0,
        ),
    ],
)
def test_all_shapes_of_an_answer_are_read(answer: dict[str, Any], tokens: list[int], total: int) -> None:
    found = vectors_of(answer)
    assert (found.vectors, found.tokens or [], found.total_tokens) == ([[1, 0.5]], tokens, total)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"embeddings": [{}]},
        {"embeddings": [{"values": []}]},
        {"embeddings": [{"values": ["1"]}]},
        {"embedding": 5},
    ],
)
def test_an_answer_of_another_shape_may_pass(answer: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match="shape of embeddings"):
        vectors_of(answer)
