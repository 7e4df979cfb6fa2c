"""A request's content, read once: the prompt, what it costs, the options that shape the answer.

Reading never raises for a bad request: the first thing that Gemini would refuse is kept as `problem`, so
that a refused request is counted under its prompt too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchq.emulator.answers import digest_of, text_tokens
from batchq.emulator.reader import Content, Files, Reader
from batchq.emulator.refusals import Refusal, invalid
from batchq.emulator.wire_fields import CONFIG_FIELDS, EMBED_FIELDS, GENERATE_FIELDS

MOST_TEXTS = 100  # of a batch of embeddings
INPUT_TOKEN_LIMIT = 1_048_576


@dataclass(slots=True)
class Asked:
    """A generateContent or countTokens request."""

    content: Content
    prompt: str
    key: bytes  # see answers.prompt_key
    config: dict[str, Any]  # generationConfig, names in camelCase
    problem: Refusal | None

    @property
    def schema(self) -> Mapping[str, Any] | None:
        schema = self.config.get("responseSchema") or self.config.get("responseJsonSchema")
        return schema if isinstance(schema, Mapping) else None


@dataclass(slots=True)
class Embedding:
    """One text (or content) to embed."""

    content: Content
    prompt: str
    key: bytes
    dimensions: int | None


def load(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises Refusal."""
    try:
        loaded = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise invalid("Invalid JSON payload received. Unexpected token.") from None
    if not isinstance(loaded, dict):
        raise invalid('Invalid JSON payload received. Root element must be a message."')
    return loaded


def read_generate(raw: dict[str, Any], files: Files | None = None) -> Asked:
    """`files` knows what was uploaded by the caller's project."""
    reader = Reader(files)
    fields = reader.named(raw, GENERATE_FIELDS, "")
    if isinstance(inner := fields.get("generateContentRequest"), dict):  # of countTokens
        fields = fields | reader.named(inner, GENERATE_FIELDS, "generate_content_request")
    content = Content()
    reader.contents(fields.get("contents"), content)
    system = _system(reader, fields.get("systemInstruction"), content)
    config = fields.get("generationConfig") or {}
    if not isinstance(config, dict):
        reader.complain(invalid("Invalid value at 'generation_config'"))
        config = {}
    config = reader.named(config, CONFIG_FIELDS, "generation_config")
    reader.config(config)
    prompt = content.prompt
    key = digest_of(prompt, system, content.media)
    return Asked(content, prompt, key, config, reader.problem)


def read_embeddings(raws: Any) -> tuple[list[Embedding], Refusal | None]:
    """The texts of a batch (`requests`)."""
    reader = Reader()
    if not isinstance(raws, list) or not raws:
        return [], invalid("* BatchEmbedContentsRequest.requests: requests is not specified\n")
    if len(raws) > MOST_TEXTS:
        reader.complain(
            invalid(
                f"* BatchEmbedContentsRequest.requests: at most {MOST_TEXTS} requests can be in one batch\n"
            )
        )
    found: list[Embedding] = []
    for raw in raws:
        if not isinstance(raw, dict):
            return found, invalid("Invalid value at 'requests'")
        fields = reader.named(raw, EMBED_FIELDS, "requests")
        config = fields.get("embedContentConfig")
        if isinstance(config, dict):  # Vertex's place for the options
            fields = reader.named(config, EMBED_FIELDS, "embed_content_config") | fields
        content = Content()
        reader.contents([fields.get("content")], content, of="EmbedContentRequest.content")
        found.append(_embedding(content, reader, fields.get("outputDimensionality")))
    return found, reader.problem


def read_predict(raw: dict[str, Any]) -> tuple[list[Embedding], Refusal | None]:
    """The texts of Vertex's :predict."""
    reader = Reader()
    parameters = raw.get("parameters") or {}
    wanted = parameters.get("outputDimensionality") if isinstance(parameters, dict) else None
    found: list[Embedding] = []
    for instance in raw.get("instances") or [] if isinstance(raw.get("instances"), list) else []:
        text = instance.get("content") if isinstance(instance, dict) else None
        content = Content()
        if not isinstance(text, str) or not text:
            reader.complain(invalid("The text content is empty."))
            text = ""
        content.texts.append(text)
        content.add("TEXT", text_tokens(len(text)))
        found.append(_embedding(content, reader, wanted))
    if not found:
        reader.complain(invalid("Invalid instances: the list is empty."))
    return found, reader.problem


def _embedding(content: Content, reader: Reader, dimensions: Any) -> Embedding:
    if dimensions is not None and (not isinstance(dimensions, int) or not 1 <= dimensions <= 3072):
        reader.complain(
            invalid("* EmbedContentRequest.output_dimensionality: must be in the range [1, 3072]\n")
        )
        dimensions = None
    prompt = content.prompt
    return Embedding(content, prompt, digest_of(prompt, None, content.media), dimensions)


def _system(reader: Reader, raw: Any, content: Content) -> str | None:
    if raw is None:
        return None
    own = Content()
    reader.contents([raw], own, of="GenerateContentRequest.system_instruction", any_role=True)
    for kind, tokens in own.tokens.items():
        content.add(kind, tokens)
    return own.prompt
