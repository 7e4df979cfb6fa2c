"""The names that Gemini's messages have, in both spellings: anything else in a request is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from batchq.emulator.schema_answers import SNAKE


def _both(camel: Iterable[str]) -> dict[str, str]:
    """camelCase and snake_case spellings → camelCase."""
    names = {}
    for name in camel:
        names[name] = name
        names[re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)] = name
    return names


GENERATE_FIELDS = _both(
    [
        "model",
        "contents",
        "systemInstruction",
        "generationConfig",
        "safetySettings",
        "tools",
        "toolConfig",
        "cachedContent",
        "labels",
        "serviceTier",
        "store",
        "modelArmorConfig",
        "continuationToken",
        "outputConfig",
        "generateContentRequest",
    ]
)
CONFIG_FIELDS = _both(
    [
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "responseLogprobs",
        "logprobs",
        "presencePenalty",
        "frequencyPenalty",
        "seed",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "routingConfig",
        "modelConfig",
        "responseModalities",
        "mediaResolution",
        "speechConfig",
        "audioTimestamp",
        "thinkingConfig",
        "imageConfig",
        "enableEnhancedCivicAnswers",
        "audioTranscriptionConfig",
        "enableAffectiveDialog",
        "translationConfig",
        "responseFormat",
    ]
) | {"_responseJsonSchema": "responseJsonSchema"}
CONTENT_FIELDS = frozenset({"parts", "role"})
PART_FIELDS = _both(
    [
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "thought",
        "thoughtSignature",
        "videoMetadata",
        "mediaResolution",
        "toolCall",
        "toolResponse",
        "partMetadata",
        "audioTranscription",
        "mediaProcessing",
        "speechMetadata",
        "documentMetadata",
        "spreadsheetMetadata",
        "audioMetadata",
    ]
)
PART_DATA = _both(
    [
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
    ]
)
EMBED_FIELDS = _both(["model", "content", "taskType", "title", "outputDimensionality", "embedContentConfig"])
SCHEMA_FIELDS = (
    frozenset(SNAKE)
    | frozenset(SNAKE.values())
    | frozenset(
        [
            "type",
            "format",
            "title",
            "description",
            "nullable",
            "default",
            "items",
            "enum",
            "properties",
            "required",
            "minimum",
            "maximum",
            "pattern",
            "example",
            "uniqueItems",
            "multipleOf",
            "const",
        ]
    )
)
SNAKE_OF = {camel: name for name, camel in CONFIG_FIELDS.items() if not name.startswith("_")}
