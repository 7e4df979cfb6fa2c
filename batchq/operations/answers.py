"""What a model's response amounts to: an answer, or one of the ways in which there is none.

Gemini answers 200 to blocked, cut-off and empty generations alike; only the response's own fields tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from batchq.core.records import Answer, JsonObject, Usage, text_of
from batchq.errors import ProviderError, Rejected, Unavailable

# finishReason values under which Gemini withholds the answer for its content
BLOCKING = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
    }
)
FINE = frozenset({"STOP", "FINISH_REASON_UNSPECIFIED", ""})  # absent: some gateways leave it out


def answer_of(response: JsonObject, model: str | None) -> Answer:
    """The answer in a GenerateContentResponse.

    Raises Rejected (BLOCKED, TRUNCATED: asking again gives the same) or Unavailable (EMPTY, INCOMPLETE: a
    model may do better the next time), each with the usage of the call. A function call needs no text.
    """
    usage = usage_of(response)
    try:
        problem = _problem(response, usage)
    except (AttributeError, TypeError, LookupError) as exc:
        problem = Unavailable(f"the answer has not the shape of a response: {exc}", kind="UNREADABLE")
    if problem:
        problem.usage = usage
        raise problem
    return Answer(response=response, text=text_of(response), usage=usage, model=model)


def _problem(response: Mapping[str, Any], usage: Usage) -> ProviderError | None:
    feedback = response.get("promptFeedback") or {}
    if reason := feedback.get("blockReason"):
        said = f": {feedback['blockReasonMessage']}" if feedback.get("blockReasonMessage") else ""
        return Rejected(f"the prompt was blocked ({reason}{_rated(feedback)}){said}", kind="BLOCKED")
    candidates = response.get("candidates") or []
    if not candidates:
        return Unavailable("the answer has no candidates", kind="EMPTY")
    first = candidates[0]
    reason = str(first.get("finishReason") or "")
    said = f": {first['finishMessage']}" if first.get("finishMessage") else ""
    if reason in BLOCKING:
        return Rejected(f"the answer was withheld ({reason}{_rated(first)}){said}", kind="BLOCKED")
    if reason in ("MAX_TOKENS", "CONTINUATION"):
        return Rejected(
            f"the answer was cut off after {usage.output_tokens} output tokens ({reason}): raise "
            "max_output_tokens, or lower the thinking budget",
            kind="TRUNCATED",
        )
    if reason not in FINE:
        return Unavailable(f"the model stopped early ({reason}){said}", kind="INCOMPLETE")
    parts = (first.get("content") or {}).get("parts") or []
    if not any(_says(part) for part in parts):
        return Unavailable("the model answered nothing", kind="EMPTY")
    return None


def _says(part: Mapping[str, Any]) -> bool:
    """Whether a part is an answer at all: text that is not blank, a call, an image, code …, not a thought."""
    if part.get("thought"):
        return False
    if "text" in part:
        return bool(str(part["text"]).strip())
    return bool(set(part) - {"thoughtSignature", "partMetadata"})


def _rated(holder: Mapping[str, Any]) -> str:
    """The safety categories that blocked, for the message."""
    ratings = holder.get("safetyRatings") or []
    blocked = [str(rating.get("category", "")) for rating in ratings if rating.get("blocked")]
    return f"; {', '.join(blocked)}" if blocked else ""


def usage_of(response: Mapping[str, Any]) -> Usage:
    """Tokens as Gemini bills them: prompt (cached ones included) and tool results in; answer and thoughts out."""
    raw = response.get("usageMetadata")
    if not isinstance(raw, Mapping):
        return Usage()

    return Usage(
        input_tokens=_count(raw, "promptTokenCount") + _count(raw, "toolUsePromptTokenCount"),
        output_tokens=_count(raw, "candidatesTokenCount") + _count(raw, "thoughtsTokenCount"),
        cached_tokens=_count(raw, "cachedContentTokenCount"),
        image_tokens=_of_modality("IMAGE", raw.get("candidatesTokensDetails")),
        audio_tokens=_of_modality("AUDIO", raw.get("promptTokensDetails")),
    )


def _count(holder: Mapping[str, Any], name: str) -> int:
    value = holder.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _of_modality(modality: str, details: Any) -> int:
    if not isinstance(details, list):
        return 0
    rows = [row for row in details if isinstance(row, Mapping) and row.get("modality") == modality]
    return sum([_count(row, "tokenCount") for row in rows])


def parsed(text: str) -> Any:
    """The JSON of an answer's text; ValueError where it is none."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)
