"""A Gemini request in the making, and what cannot become part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchq.core.records import ErrorInfo, Json, JsonObject
from batchq.formats.items import wrong_type


class Unmapped(Exception):
    """This line has no counterpart at Gemini. `problem` is the item's."""

    def __init__(self, problem: ErrorInfo) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(slots=True)
class Draft:
    """Filled field by field; `request()` is the GenerateContentRequest, in camelCase."""

    contents: list[JsonObject] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    config: JsonObject = field(default_factory=dict)  # generationConfig
    beside: JsonObject = field(default_factory=dict)  # tools, toolConfig, serviceTier, model
    calls: dict[str, str] = field(default_factory=dict)  # id of a function call → the function's name

    def request(self) -> JsonObject:
        request: JsonObject = {"contents": self.contents}
        if self.system:
            request["systemInstruction"] = {"parts": [{"text": text} for text in self.system]}
        if self.config:
            request["generationConfig"] = self.config
        return {**request, **self.beside}

    def asks_something(self) -> bool:
        parts = (part for content in self.contents for part in content["parts"])
        return any("text" not in part or part["text"].strip() for part in parts)

    def say(self, role: str, parts: list[JsonObject]) -> None:
        if parts:
            self.contents.append({"role": role, "parts": parts})

    def call(self, call_id: Any, name: Json, arguments: JsonObject) -> None:
        """The model's own call of a function, as it stands in a conversation."""
        part = {"functionCall": {"name": name, "args": arguments}}
        self.calls[str(call_id)] = str(name)
        if self.contents and all("functionCall" in one for one in self.contents[-1]["parts"]):
            self.contents[-1]["parts"].append(part)  # calls made at once are one turn
        else:
            self.say("model", [part])

    def returned(self, call_id: Any, result: JsonObject, where: str) -> None:
        """What a function returned. Raises Unmapped where nobody called it."""
        name = self.calls.get(str(call_id))
        if name is None:
            raise invalid(where, "names no function call that stands before it")
        part = {"functionResponse": {"name": name, "response": result}}
        if self.contents and all("functionResponse" in one for one in self.contents[-1]["parts"]):
            self.contents[-1]["parts"].append(part)  # Gemini wants the answers to one turn's calls together
        else:
            self.say("user", [part])


def unsupported(where: str, why: str = "has no counterpart at Gemini: leave it out") -> Unmapped:
    return Unmapped(ErrorInfo(0, "UNSUPPORTED", f"{where} {why}"))


def invalid(where: str, why: str) -> Unmapped:
    return Unmapped(ErrorInfo(0, "INVALID_INPUT", f"{where} {why}"))


def text_at(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Unmapped(wrong_type(where, "a text", value))
    return value


def object_at(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unmapped(wrong_type(where, "an object", value))
    return value


def list_at(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise Unmapped(wrong_type(where, "a list", value))
    return value


def only(value: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise Unmapped for the first field that is set and not `known`."""
    for name, one in value.items():
        if one is not None and name not in known:
            raise unsupported(f"{where}.{name}")
