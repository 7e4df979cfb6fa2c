"""What stands in a body beside the conversation, field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchq.core.records import JsonObject
from batchq.formats.openai.draft import Draft, invalid, list_at, object_at, only, text_at, unsupported
from batchq.formats.words import listed, shown_json

Setting = Callable[[Draft, Any, str], None]

# They say nothing about the answer. `stream_options` means nothing without a stream.
IGNORED = (
    "background",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "store",
    "stream_options",
    "user",
    "verbosity",
)
# Tokens of thinking, as Google's own OpenAI-compatible API takes the words.
_EFFORTS = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576}
_CHOICES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}


def _ignored(draft: Draft, value: Any, where: str) -> None:
    """Left out on purpose."""


def _named(field: str) -> Setting:
    def setting(draft: Draft, value: Any, where: str) -> None:  # noqa: ARG001
        draft.config[field] = value

    return setting


def _must_be(*allowed: Any) -> Setting:
    """The default may be spelt out; another value has no counterpart."""

    def setting(draft: Draft, value: Any, where: str) -> None:  # noqa: ARG001
        if value not in allowed:
            raise unsupported(
                where, f"is {shown_json(value)}, which has no counterpart at Gemini: leave it out"
            )

    return setting


def _model(draft: Draft, value: Any, where: str) -> None:
    """OpenAI's models are replaced by the job's; a Gemini model is kept, to be compared with the job's."""
    name = text_at(value, where)
    if name.rsplit("/", 1)[-1].startswith("gemini"):
        draft.beside["model"] = name


def _stop(draft: Draft, value: Any, where: str) -> None:  # noqa: ARG001
    draft.config["stopSequences"] = [value] if isinstance(value, str) else value


def _service_tier(draft: Draft, value: Any, where: str) -> None:
    if value in ("flex", "priority"):
        draft.beside["serviceTier"] = value
    elif value not in ("auto", "default"):
        raise unsupported(where, f"is {shown_json(value)}: known are auto, default, flex and priority")


def _effort(draft: Draft, value: Any, where: str) -> None:
    if not isinstance(value, str) or value not in _EFFORTS:
        raise unsupported(where, f"is {shown_json(value)}: known are {listed(_EFFORTS)}")
    draft.config.setdefault("thinkingConfig", {})["thinkingBudget"] = _EFFORTS[value]


def _reasoning(draft: Draft, value: Any, where: str) -> None:
    reasoning = object_at(value, where)
    only(reasoning, ("effort", "summary", "generate_summary"), where)
    if reasoning.get("effort") is not None:
        _effort(draft, reasoning["effort"], f"{where}.effort")
    if reasoning.get("summary") or reasoning.get("generate_summary"):
        draft.config.setdefault("thinkingConfig", {})["includeThoughts"] = True


def _chat_format(draft: Draft, value: Any, where: str) -> None:
    form = object_at(value, where)
    only(form, ("type", "json_schema"), where)
    if form.get("type") == "json_schema":
        where += ".json_schema"
        form = {"type": "json_schema", **object_at(form.get("json_schema"), where)}
    _format(draft, form, where)


def _text(draft: Draft, value: Any, where: str) -> None:
    text = object_at(value, where)
    only(text, ("format", "verbosity"), where)
    if text.get("format") is not None:
        _format(draft, object_at(text["format"], f"{where}.format"), f"{where}.format")


def _format(draft: Draft, form: Mapping[str, Any], where: str) -> None:
    """text, json_object, or json_schema with its schema beside the type."""
    kind = form.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise unsupported(
            f"{where}.type", f"is {shown_json(kind)}: known are text, json_object and json_schema"
        )
    if kind == "text":
        return
    draft.config["responseMimeType"] = "application/json"
    if kind == "json_schema":
        only(form, ("type", "name", "description", "strict", "schema"), where)
        schema = object_at(form.get("schema"), f"{where}.schema")
        draft.config["responseJsonSchema"] = dict(schema)


def _tools(draft: Draft, value: Any, where: str) -> None:
    declared = []
    for index, raw in enumerate(list_at(value, where)):
        place = f"{where}[{index}]"
        tool = object_at(raw, place)
        if tool.get("type") != "function":
            raise unsupported(
                f"{place}.type", f"is {shown_json(tool.get('type'))}: functions alone have a counterpart"
            )
        if "function" in tool:  # chat completions have it one level deeper
            only(tool, ("type", "function"), place)
            place += ".function"
            tool = object_at(tool["function"], place)
        only(tool, ("type", "name", "description", "parameters", "strict"), place)
        declared.append(_declaration(tool, place))
    if declared:
        draft.beside["tools"] = [{"functionDeclarations": declared}]


def _declaration(tool: Mapping[str, Any], where: str) -> JsonObject:
    declaration: JsonObject = {"name": text_at(tool.get("name"), f"{where}.name")}
    if tool.get("description") is not None:
        declaration["description"] = text_at(tool["description"], f"{where}.description")
    if tool.get("parameters") is not None:
        declaration["parametersJsonSchema"] = dict(object_at(tool["parameters"], f"{where}.parameters"))
    return declaration


def _tool_choice(draft: Draft, value: Any, where: str) -> None:
    if isinstance(value, str):
        if value not in _CHOICES:
            raise unsupported(where, f"is {shown_json(value)}: known are {listed(_CHOICES)}, or a function")
        calling: JsonObject = {"mode": _CHOICES[value]}
    else:
        choice = object_at(value, where)
        if choice.get("type") != "function":
            raise unsupported(f"{where}.type", f"is {shown_json(choice.get('type'))}: name a function")
        named = object_at(choice.get("function", choice), f"{where}.function")
        name = text_at(named.get("name"), f"{where}.name")
        calling = {"mode": "ANY", "allowedFunctionNames": [name]}
    draft.beside["toolConfig"] = {"functionCallingConfig": calling}


def _parallel(draft: Draft, value: Any, where: str) -> None:
    if value is False and "tools" in draft.beside:
        raise unsupported(where, "is false: Gemini may always call several functions at once")


def _top_logprobs(draft: Draft, value: Any, where: str) -> None:
    if value:
        draft.config.update(responseLogprobs=True, logprobs=value)
    elif not isinstance(value, int):
        raise invalid(where, "must be a whole number")


# `tools` before `parallel_tool_calls`: fields are mapped in this order.
_BOTH: dict[str, Setting] = {
    "model": _model,
    "temperature": _named("temperature"),
    "top_p": _named("topP"),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _parallel,
    "top_logprobs": _top_logprobs,
    "service_tier": _service_tier,
    "stream": _must_be(False),
    **dict.fromkeys(IGNORED, _ignored),
}
CHAT: dict[str, Setting] = {
    **_BOTH,
    "n": _named("candidateCount"),
    "max_tokens": _named("maxOutputTokens"),
    "max_completion_tokens": _named("maxOutputTokens"),
    "stop": _stop,
    "seed": _named("seed"),
    "presence_penalty": _named("presencePenalty"),
    "frequency_penalty": _named("frequencyPenalty"),
    "logprobs": _named("responseLogprobs"),
    "logit_bias": _must_be({}),
    "modalities": _must_be(["text"]),
    "reasoning_effort": _effort,
    "response_format": _chat_format,
}
RESPONSES: dict[str, Setting] = {
    **_BOTH,
    "max_output_tokens": _named("maxOutputTokens"),
    "reasoning": _reasoning,
    "text": _text,
    "include": _must_be([]),
    "truncation": _must_be("auto", "disabled"),
}


def apply(draft: Draft, body: Mapping[str, Any], settings: Mapping[str, Setting]) -> None:
    """Map the body's fields that `settings` knows; null is as good as left out. Raises Unmapped."""
    for name, setting in settings.items():
        if body.get(name) is not None:
            setting(draft, body[name], f"body.{name}")


# The model is the job's; Gemini's vectors are floats.
EMBEDDINGS = ("dimensions", "encoding_format", "model", "user")


def text_to_embed(body: Mapping[str, Any]) -> JsonObject:
    """An input of the operation embed. Raises Unmapped."""
    if (encoding := body.get("encoding_format")) not in (None, "float"):
        raise unsupported(
            "body.encoding_format", f"is {shown_json(encoding)}: vectors are floats, leave it out"
        )
    text = body.get("input")
    if isinstance(text, list):
        if len(text) != 1:
            raise unsupported("body.input", "is a list: give each text a line of its own")
        [text] = text
    input: JsonObject = {"text": text_at(text, "body.input")}
    if body.get("dimensions") is not None:
        input["output_dimensionality"] = body["dimensions"]
    return input
