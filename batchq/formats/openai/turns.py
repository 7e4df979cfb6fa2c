"""The conversation: `messages` of chat completions, `input` of responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from batchq.core.records import JsonObject
from batchq.formats.openai.draft import Draft, invalid, list_at, object_at, only, text_at, unsupported
from batchq.formats.openai.parts import parts_at, texts_at
from batchq.formats.strict_json import NotStrict, parse
from batchq.formats.words import shown_json

_SYSTEM = ("system", "developer")


def add_messages(draft: Draft, messages: Any, where: str) -> None:
    """Chat completions. Raises Unmapped."""
    for index, raw in enumerate(list_at(messages, where)):
        place = f"{where}[{index}]"
        message = object_at(raw, place)
        role = message.get("role")
        if role == "tool":
            only(message, ("role", "content", "tool_call_id"), place)
            result = _result(message.get("content"), f"{place}.content")
            draft.returned(message.get("tool_call_id"), result, f"{place}.tool_call_id")
        elif role == "assistant":
            only(message, ("role", "content", "refusal", "tool_calls", "annotations"), place)
            for name in ("content", "refusal"):
                if message.get(name) is not None:
                    draft.say("model", parts_at(message[name], f"{place}.{name}"))
            for number, call in enumerate(list_at(message.get("tool_calls") or [], f"{place}.tool_calls")):
                _add_tool_call(draft, call, f"{place}.tool_calls[{number}]")
        else:
            only(message, ("role", "content"), place)
            _add_said(draft, role, message.get("content"), place)


def add_input(draft: Draft, input: Any, where: str) -> None:
    """Responses: a text, or a list of messages, function calls and what they returned. Raises Unmapped."""
    if isinstance(input, str):
        draft.say("user", [{"text": input}])
        return
    for index, raw in enumerate(list_at(input, where)):
        place = f"{where}[{index}]"
        item = object_at(raw, place)
        kind = item.get("type", "message")
        if kind == "message":
            only(item, ("type", "role", "content", "id", "status"), place)
            if item.get("role") == "assistant":
                draft.say("model", parts_at(item.get("content"), f"{place}.content"))
            else:
                _add_said(draft, item.get("role"), item.get("content"), place)
        elif kind == "function_call":
            only(item, ("type", "call_id", "name", "arguments", "id", "status"), place)
            _add_call(draft, item.get("call_id"), item, place)
        elif kind == "function_call_output":
            only(item, ("type", "call_id", "output", "id", "status"), place)
            result = _result(item.get("output"), f"{place}.output")
            draft.returned(item.get("call_id"), result, f"{place}.call_id")
        else:
            raise unsupported(f"{place}.type", f"is {shown_json(kind)}, which has no counterpart at Gemini")


def _add_said(draft: Draft, role: Any, content: Any, where: str) -> None:
    if role in _SYSTEM:
        draft.system.extend(texts_at(content, f"{where}.content"))
    elif role == "user":
        draft.say("user", parts_at(content, f"{where}.content"))
    else:
        raise unsupported(
            f"{where}.role",
            f"is {shown_json(role)}: it must be system, developer, user or assistant, or tool in chat completions",
        )


def _add_tool_call(draft: Draft, raw: Any, where: str) -> None:
    call = object_at(raw, where)
    only(call, ("id", "type", "function"), where)
    if call.get("type", "function") != "function":
        raise unsupported(
            f"{where}.type", f"is {shown_json(call['type'])}: functions alone have a counterpart"
        )
    function = object_at(call.get("function"), f"{where}.function")
    only(function, ("name", "arguments"), f"{where}.function")
    _add_call(draft, call.get("id"), function, f"{where}.function")


def _add_call(draft: Draft, call_id: Any, function: Mapping[str, Any], where: str) -> None:
    name = text_at(function.get("name"), f"{where}.name")
    arguments = text_at(function.get("arguments"), f"{where}.arguments")
    try:
        values = parse(arguments) if arguments.strip() else {}
    except NotStrict as exc:
        raise invalid(f"{where}.arguments", f"is {exc}") from None
    draft.call(call_id, name, dict(object_at(values, f"{where}.arguments, once read,")))


def _result(content: Any, where: str) -> JsonObject:
    """An object, as Gemini wants it: the function's own where it returned one."""
    text = content if isinstance(content, str) else "".join(texts_at(content, where))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"result": text}
