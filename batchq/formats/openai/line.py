"""One line: which API it is for, and its body as a Gemini request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchq.core.records import JsonObject
from batchq.formats.items import empty_prompt
from batchq.formats.openai import settings
from batchq.formats.openai.draft import Draft, Unmapped, object_at, text_at, unsupported
from batchq.formats.openai.turns import add_input, add_messages
from batchq.formats.words import meant, shown, shown_json

LINE_KEYS = ("custom_id", "method", "url", "body")
_APIS = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/embeddings": "embeddings"}


def looks_like(fields: Mapping[str, Any]) -> bool:
    """Whether a line is one of OpenAI's Batch API."""
    return "body" in fields and any(key in fields for key in ("custom_id", "method", "url"))


def item_of(line: Mapping[str, Any]) -> tuple[str | None, JsonObject]:
    """The operation (None: the job's) and the input that ask what the line asks. Raises Unmapped."""
    if line.get("method", "POST") != "POST":
        raise unsupported("method", f"is {shown_json(line['method'])}: it must be POST")
    body = object_at(line.get("body"), "body")
    api = _api(line, body)
    if api == "embeddings":
        _refuse_unknown(body, ("input", *settings.EMBEDDINGS))
        return "embed", settings.text_to_embed(body)
    draft = Draft()
    if api == "chat":
        _refuse_unknown(body, ("messages", *settings.CHAT))
        add_messages(draft, body.get("messages"), "body.messages")
        settings.apply(draft, body, settings.CHAT)
    else:
        _refuse_unknown(body, ("instructions", "input", *settings.RESPONSES))
        if body.get("instructions") is not None:
            draft.system.append(text_at(body["instructions"], "body.instructions"))
        add_input(draft, body.get("input"), "body.input")
        settings.apply(draft, body, settings.RESPONSES)
    if not draft.asks_something():
        raise Unmapped(empty_prompt("the body asks nothing beside the system's instructions"))
    return None, {"request": draft.request()}


def _api(line: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    url = line.get("url")
    if url is None:
        if str(body.get("model")).startswith("text-embedding"):
            return "embeddings"
        return "chat" if "messages" in body else "responses"
    path = text_at(url, "url")
    path = path[path.find("/v1/") :] if "://" in path else path
    if path not in _APIS:
        raise unsupported("url", f"is {shown(url)}: known are {', '.join(_APIS)}")
    return _APIS[path]


def _refuse_unknown(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name, value in body.items():
        if value is not None and name not in known:
            why = f"has no counterpart at Gemini{meant(name, known)}"
            raise unsupported(f"body.{shown(name)[1:-1]}", why.removesuffix("."))
