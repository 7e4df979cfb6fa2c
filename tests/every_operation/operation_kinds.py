"""The operations, each by how its items look and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchq.core.records import Result
from batchq.emulator import expected_embedding, expected_image, expected_json, expected_text
from batchq.operations.extract import INSTRUCTION as EXTRACT
from batchq.operations.review import FINDINGS
from batchq.operations.review import INSTRUCTION as REVIEW

ATTEMPTS = 3
SCHEMA = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "score": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["topic", "score"],
}
EMBEDDING, DIMENSIONS = "gemini-embedding-001", 8
MODELS = ("gemini-2.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-flash-image", EMBEDDING)


@dataclass(frozen=True)
class Kind:
    """`input(text)` is an item's; `bad` one that cannot be sent; `came(result)` what came of it, and `due(id, text)` what
    has to."""

    operation: str
    input: Callable[[str], dict[str, Any]]
    bad: Mapping[str, Any]
    came: Callable[[Result], object]
    due: Callable[[str, str], object]
    options: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    many: int = 60  # items of which one call at a time leaves some
    bad_attempts: int = 0
    passing: str = "UNREADABLE"  # the error of `failing` items

    def row(self, item_id: str, text: str) -> dict[str, Any]:
        return {"id": item_id, "input": self.input(text)}

    def failing(self, item_id: str, times: int) -> dict[str, Any]:
        """An item whose first calls meet a passing error."""
        if self.operation == "work":
            return {"id": item_id, "input": {"n": item_id, "fail": times, "error": "passing"}}
        row = self.row(item_id, self.failing_text(item_id, times))
        if self.operation == "embed":  # a request of its own: the emulator counts by what a request holds
            row["input"]["output_dimensionality"] = DIMENSIONS + times
        return row

    def failing_text(self, item_id: str, times: int) -> str:
        """Answers that are no JSON: of 5xx in a row the quota's breaker would charge nobody. The emulator counts by
        the text, whatever the model."""
        return f"{self.operation} of {item_id} [[emulate:not-json first={times}]]"

    def slow(self, item_id: str) -> dict[str, Any]:
        """An item of a second, where the emulator takes as long."""
        if self.operation == "work":
            return {"id": item_id, "input": {"n": item_id, "ms": 1_000}}
        return self.row(item_id, f"Slow {item_id}")


def _embedded(item_id: str, text: str) -> list[float]:
    size = {"once": DIMENSIONS + 1, "stuck": DIMENSIONS + ATTEMPTS}.get(item_id, DIMENSIONS)
    return expected_embedding(text, model=EMBEDDING, dimensions=size)


KINDS = {
    kind.operation: kind
    for kind in (
        Kind(
            "generate",
            lambda text: {"prompt": text},
            {"prompt": " "},
            lambda result: result.text,
            lambda _, text: expected_text(text),
        ),
        Kind(
            "extract",
            lambda text: {"text": text},
            {"prompt": "and the document?"},
            lambda result: result.data,
            lambda _, text: expected_json(SCHEMA, f"{EXTRACT}\n{text}"),
            schema=SCHEMA,
        ),
        Kind(
            "embed",
            lambda text: {"text": text},
            {"text": ""},
            lambda result: result.data,
            _embedded,
            options={"output_dimensionality": DIMENSIONS},
            many=2_000,
        ),
        Kind(
            "review",
            lambda text: {"text": text},
            {"prompt": "and the source?"},
            lambda result: result.data,
            lambda item_id, text: expected_json(FINDINGS, f"File {item_id}:\n\n1 {text}\n\n{REVIEW}"),
        ),
        Kind(
            "image",
            lambda text: {"prompt": text},
            {"prompt": ""},
            lambda result: result.images,
            lambda _, text: [expected_image(text)],
        ),
        Kind(
            "work",
            lambda text: {"n": text},
            {"n": 0, "fail": 99, "error": "refused"},
            lambda result: result.data,
            lambda item_id, text: {"answer": item_id if text.endswith("]]") else text},
            bad_attempts=1,  # only the function itself can tell
            passing="UNAVAILABLE",
        ),
    )
}
