"""The bodies of good answers: generateContent, countTokens and the three ways to embed."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from batchq.emulator.answers import (
    CHARACTERS_A_TOKEN,
    IMAGE_TOKENS,
    OTHER_IMAGE_TOKENS,
    drawn,
    echo,
    structured,
    text_tokens,
    thoughts,
    vector,
)
from batchq.emulator.asked import Asked, Embedding
from batchq.emulator.labels import Labels
from batchq.emulator.refusals import invalid
from batchq.emulator.schema_answers import Unfit, fit

Json = dict[str, Any]


def generated(asked: Asked, model: str, labels: Labels) -> Json:
    """A GenerateContentResponse. Raises Refusal for a schema that nothing fits."""
    config = asked.config
    if (modalities := _modalities(config, model)) != {"TEXT"}:
        return _illustrated(asked, model, with_text="TEXT" in modalities)
    thought = thoughts(model, _budget(config), asked.key)
    text, finish, thought = _cut(_text(asked, labels), config, thought)
    candidates = []
    for index in range(config.get("candidateCount") or 1):
        said = text if index == 0 else f"{text} (candidate {index})"
        content: Json = {"role": "model"}
        if said:
            content["parts"] = [{"text": said}]
        candidates.append({"content": content, "finishReason": finish, "index": index})
    return finished(asked, model, candidates, thought)


def _modalities(config: Json, model: str) -> set[str]:
    """What the answer is made of. Raises Refusal for what the model cannot do."""
    draws = "-image" in model
    wanted = {str(one).upper() for one in config.get("responseModalities") or ()}
    if "IMAGE" in wanted and not draws:
        raise invalid("Model does not support the requested response modalities: image")
    if "AUDIO" in wanted:
        raise invalid("Model does not support the requested response modalities: audio")
    return wanted or ({"TEXT", "IMAGE"} if draws else {"TEXT"})


def _illustrated(asked: Asked, model: str, *, with_text: bool) -> Json:
    """An answer with a picture."""
    picture = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(drawn(asked.key)).decode()}}
    parts = [{"text": echo(asked.prompt, asked.key)}, picture] if with_text else [picture]
    content = {"role": "model", "parts": parts}
    answer = finished(asked, model, [{"content": content, "finishReason": "STOP", "index": 0}])
    usage, tokens = answer["usageMetadata"], IMAGE_TOKENS.get(model, OTHER_IMAGE_TOKENS)
    usage["candidatesTokenCount"] = usage.get("candidatesTokenCount", 0) + tokens
    usage["totalTokenCount"] += tokens
    usage["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": tokens}]
    return answer


def finished(asked: Asked, model: str, candidates: list[Json], thought: int = 0) -> Json:
    """A response of these candidates, with its usage."""
    texts = [
        part.get("text", "")
        for candidate in candidates
        for part in candidate.get("content", {}).get("parts", ())
    ]
    out = sum(text_tokens(len(text)) for text in texts if text)
    tokens = asked.content.token_count
    usage: Json = {
        "promptTokenCount": tokens,
        "totalTokenCount": tokens + out + thought,
        "promptTokensDetails": asked.content.token_details,
    }
    if out:
        usage["candidatesTokenCount"] = out
    if thought:
        usage["thoughtsTokenCount"] = thought
    answer: Json = {"candidates": candidates} if candidates else {}
    return answer | {"usageMetadata": usage, "modelVersion": model, "responseId": asked.key.hex()[:22]}


def _text(asked: Asked, labels: Labels) -> str:
    if labels.by_digest or labels.by_text:
        labelled = labels.answer(asked.prompt, asked.key, asked.content.media)
        if labelled is not None:
            return labelled
    kind = asked.config.get("responseMimeType")
    try:
        if kind == "text/x.enum" and asked.schema is not None:
            return str(fit(asked.schema, asked.key))
        if kind == "application/json":
            return structured(asked.schema, asked.prompt, asked.key)
    except (Unfit, RecursionError, TypeError, AttributeError, KeyError) as exc:
        raise invalid(f"The specified schema is not supported: {exc}") from exc
    return echo(asked.prompt, asked.key)


def _cut(text: str, config: Json, thought: int) -> tuple[str, str, int]:
    """What stop sequences and maxOutputTokens leave; thoughts come first and may use up the whole budget."""
    for stop in config.get("stopSequences") or ():
        if isinstance(stop, str) and stop and stop in text:
            text = text[: text.index(stop)]
    most = config.get("maxOutputTokens")
    if most is None or thought + text_tokens(len(text)) <= most:
        return text, "STOP", thought
    thought = min(thought, most)
    return text[: (most - thought) * CHARACTERS_A_TOKEN], "MAX_TOKENS", thought


def _budget(config: Json) -> int | None:
    thinking = config.get("thinkingConfig")
    if not isinstance(thinking, dict):
        return None
    budget = thinking.get("thinkingBudget", thinking.get("thinking_budget"))
    return budget if isinstance(budget, int) else None


def counted(asked: Asked) -> bytes:
    return json.dumps(
        {"totalTokens": asked.content.token_count, "promptTokensDetails": asked.content.token_details}
    ).encode()


def embedded(texts: Sequence[Embedding], model: str, method: str, vertex: bool) -> bytes:
    """Vectors in the order of the texts. Written by hand: a vector is JSON already."""
    tokens = sum(one.content.token_count for one in texts)
    vectors = [vector(one.key, model, one.dimensions) for one in texts]
    usage = f'{{"promptTokenCount": {tokens}, "totalTokenCount": {tokens}}}'
    if method == "predict":
        rows = ", ".join(
            f'{{"embeddings": {{"values": {values}, "statistics": {{"truncated": false, "token_count": '
            f"{one.content.token_count}}}}}}}"
            for one, values in zip(texts, vectors, strict=True)
        )
        characters = sum(len(one.prompt) for one in texts)
        return f'{{"predictions": [{rows}], "metadata": {{"billableCharacterCount": {characters}}}}}'.encode()
    if method == "embedContent":
        more = ', "truncated": false' if vertex else ""
        return f'{{"embedding": {{"values": {vectors[0]}}}, "usageMetadata": {usage}{more}}}'.encode()
    rows = ", ".join(f'{{"values": {values}}}' for values in vectors)
    return f'{{"embeddings": [{rows}], "usageMetadata": {usage}}}'.encode()
