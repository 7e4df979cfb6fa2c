"""embed: a text in, its vector out. A hundred texts share a request; each gets a vector of its own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from batchq.core.packs import shares
from batchq.core.records import Answer, JsonObject, Usage
from batchq.errors import Unavailable, Unsendable
from batchq.operations.base import Blob, Call
from batchq.operations.texts import bad_text
from batchq.providers.base import Provider, TextsToEmbed, snake

MODEL = "gemini-embedding-001"
TEXTS = 100  # of one request, as the API has it
KINDS = ("text", "prompt")  # an input has one; `prompt` is what a line of a text file becomes
DIMENSIONS = "output_dimensionality"  # also an input's own field, over the job's option
MOST_DIMENSIONS = 3_072
TASK_TYPES = (
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
)
OPTIONS = (DIMENSIONS, "task_type", "title")


class Embed:
    """Asks an embedding model. `provider` is called at the first item, so that a submitter needs no key."""

    name = "embed"
    default_model: str | None = MODEL
    default_schema: Mapping[str, Any] | None = None
    needs_provider = True
    pack = TEXTS

    def __init__(self, provider: Callable[[], Provider]) -> None:
        self._provider = provider

    def check(
        self,
        input: Mapping[str, Any],
        model: str | None,  # noqa: ARG002
    ) -> str | None:
        kinds = [kind for kind in KINDS if kind in input]
        if len(kinds) != 1:
            return "nothing to embed: give a text" if not kinds else "text and prompt are two texts: give one"
        unknown = [str(name) for name in input if name not in (*KINDS, DIMENSIONS)]
        if unknown:
            return f"unknown field {unknown[0]!r}: an input of embed has text, and {DIMENSIONS} if it is to"
        return bad_text(input[kinds[0]], kinds[0]) or _bad_dimensions(input.get(DIMENSIONS), DIMENSIONS)

    def check_file(self, blob: Blob) -> str | None:  # noqa: ARG002
        return None

    def check_job(self, options: Mapping[str, Any], schema: Mapping[str, Any] | None) -> str | None:
        if schema is not None:
            return "embed answers with vectors: leave the schema out"
        for name in options:
            if snake(name) not in OPTIONS:
                return f"option {name} is none of embed, which has {', '.join(OPTIONS)}"
        named = _named(options)
        if problem := _bad_dimensions(named.get(DIMENSIONS), f"option {DIMENSIONS}"):
            return problem
        if (kind := named.get("task_type")) is not None and kind not in TASK_TYPES:
            return f"option task_type must be one of {', '.join(TASK_TYPES)}, not {kind!r}"
        if (title := named.get("title")) is not None:
            if named.get("task_type") != "RETRIEVAL_DOCUMENT":
                return "option title goes with task_type RETRIEVAL_DOCUMENT only"
            return bad_text(title, "option title")
        return None

    def together(self, call: Call) -> Hashable:
        """A request's options hold for all of its texts."""
        return call.input.get(DIMENSIONS)

    def run(self, call: Call) -> Answer:
        return self.run_pack([call])[0]

    def run_pack(self, calls: Sequence[Call]) -> list[Answer]:
        model = calls[0].model or MODEL
        texts = [_text_of(call) for call in calls]
        config = _named(calls[0].options)
        if (own := calls[0].input.get(DIMENSIONS)) is not None:
            config[DIMENSIONS] = own
        found = self._provider().embed(
            model, TextsToEmbed(texts, config), timeout_s=min(call.timeout_s for call in calls)
        )
        if len(found.vectors) != len(texts):
            raise Unavailable(
                f"the answer has {len(found.vectors)} vectors for {len(texts)} texts", kind="INCOMPLETE"
            )
        counts = found.tokens or shares(found.total_tokens, [len(text.encode()) for text in texts])
        return [_answer(vector, tokens, model) for vector, tokens in zip(found.vectors, counts, strict=True)]


def _answer(vector: Sequence[float], tokens: int, model: str) -> Answer:
    """As Gemini's Batch API has it."""
    response: JsonObject = {"embedding": {"values": vector}}
    if tokens:
        response["tokenCount"] = tokens
    return Answer(response, data=vector, usage=Usage(input_tokens=tokens), model=model)


def _text_of(call: Call) -> str:
    for kind in KINDS:
        if kind in call.input:
            return str(call.input[kind])
    raise Unsendable("the item has no text", kind="INVALID_ARGUMENT")


def _named(options: Mapping[str, Any]) -> JsonObject:
    return {snake(name): value for name, value in options.items() if value is not None}


def _bad_dimensions(value: Any, name: str) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_DIMENSIONS
    return None if value is None or fits else f"{name} must be a whole number from 1 to {MOST_DIMENSIONS}"
