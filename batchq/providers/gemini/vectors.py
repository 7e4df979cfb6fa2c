"""The vectors of an answer: Gemini has three shapes for them, by API and model."""

from __future__ import annotations

from typing import Any

from batchq.core.records import JsonObject
from batchq.errors import Unavailable
from batchq.providers.base import Embedded


def vectors_of(answer: JsonObject) -> Embedded:
    """Of batchEmbedContents, embedContent or Vertex AI's predict. Raises Unavailable for any other shape."""
    try:
        if "predictions" in answer:
            found = [one["embeddings"] for one in answer["predictions"]]
            tokens = [one.get("statistics", {}).get("token_count", 0) for one in found]
            return Embedded(_checked(found), [int(count) for count in tokens])
        found = [answer["embedding"]] if "embedding" in answer else answer["embeddings"]
        usage = answer.get("usageMetadata") or {}
        return Embedded(_checked(found), total_tokens=int(usage.get("promptTokenCount") or 0))
    except (AttributeError, TypeError, LookupError, ValueError) as exc:
        raise Unavailable(f"the answer has not the shape of embeddings: {exc}", kind="UNREADABLE") from exc


def _checked(found: list[Any]) -> list[list[float]]:
    vectors: list[list[float]] = [one["values"] for one in found]
    for vector in vectors:
        if not isinstance(vector, list) or not vector:
            raise ValueError("a vector is empty")
        if any(type(value) is not float and type(value) is not int for value in vector):
            raise ValueError("a vector holds what is no number")
    return vectors
