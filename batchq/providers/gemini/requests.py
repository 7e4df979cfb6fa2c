"""Users' requests in google-genai's types: GenerateContentRequest JSON in, GenerateContentConfig out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import pydantic

from batchq.core.records import JsonObject
from batchq.providers.base import Request, snake

if TYPE_CHECKING:
    from google.genai import types

# Fields of a GenerateContentRequest that stand beside generationConfig on the wire.
BESIDE = frozenset(
    {
        "system_instruction",
        "safety_settings",
        "tools",
        "tool_config",
        "cached_content",
        "labels",
        "service_tier",
        "store",
    }
)
# What batchq itself decides: retries, deadline and the number of calls an item makes.
OURS = frozenset(
    {
        "http_options",
        "should_return_http_response",
        "automatic_function_calling",
        "automatic_continuation",
        "continuation_token",
    }
)


@cache
def _settled() -> JsonObject:
    """Config of every call: the wire's own JSON back, and one HTTP request a call."""
    from google.genai import types

    return {
        "should_return_http_response": True,
        "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
        "automatic_continuation": False,  # a follow-up would be a call that no quota has seen
    }


def config_of(config: Mapping[str, Any]) -> types.GenerateContentConfig:
    """google-genai's config for a Request's. Raises pydantic.ValidationError."""
    return _config_type().model_validate({**config, **_settled()})


@cache
def _config_type() -> type[types.GenerateContentConfig]:
    from google.genai import types

    class Config(types.GenerateContentConfig):
        # Nothing is in it: it is a model. Without this, google-genai's `name in config` walks all 40 fields for
        # each of 40 names, a tenth of a worker's processor time, to come to the same answer.
        __contains__ = frozenset[object]().__contains__

    return Config


@cache
def config_fields() -> frozenset[str]:
    """The options a user may set, by their snake_case names."""
    from google.genai import types

    return frozenset(types.GenerateContentConfig.model_fields) - OURS


def parse_request(raw: Mapping[str, Any]) -> Request:
    """A user's GenerateContentRequest, camelCase or snake_case, as a Request.

    Raises ValueError whose message names the field. `model` is left to the caller to compare.
    """
    contents: Any = None
    config: JsonObject = {}
    for name, value in raw.items():
        field = snake(name)
        if field == "contents":
            contents = value
        elif field in ("generation_config", "config"):
            if not isinstance(value, Mapping):
                raise ValueError(f"request.{name} must be an object")
            for inner, setting in value.items():
                _keep(config, snake(inner), setting, f"request.{name}.{inner}")
        elif field in BESIDE:
            _keep(config, field, value, f"request.{name}")
        elif field != "model":
            known = ["contents", "generation_config", *sorted(BESIDE)]
            raise ValueError(f"request.{name} is no field of a GenerateContentRequest{_meant(field, known)}")
    return Request(_contents(contents), config)


def _keep(config: JsonObject, field: str, value: Any, where: str) -> None:
    if problem := unknown_option(field):
        raise ValueError(f"{where} {problem}")
    if value is not None:
        config[field] = value


def unknown_option(field: str) -> str | None:
    """Why a field (snake_case) may not be set; None: it may."""
    if field in OURS:
        return "cannot be set: batchq decides on retries, deadlines and follow-up calls"
    known = config_fields()
    return None if field in known else f"is no known option{_meant(field, known)}"


def _contents(raw: Any) -> list[Mapping[str, Any]]:
    if isinstance(raw, str) and raw.strip():
        return [{"role": "user", "parts": [{"text": raw}]}]
    if isinstance(raw, Mapping):
        raw = [raw]
    if not isinstance(raw, list) or not raw:
        raise ValueError("request.contents must be a list of contents, and not empty")
    from google.genai import types

    for index, content in enumerate(raw):
        where = f"request.contents[{index}]"
        if not isinstance(content, Mapping):
            raise ValueError(f"{where} must be an object with parts")
        try:
            if not types.Content.model_validate(content).parts:
                raise ValueError(f"{where} has no parts")
        except pydantic.ValidationError as exc:
            raise ValueError(complaint(exc, where)) from exc
    return raw


def check_config(config: Mapping[str, Any], where: str) -> str | None:
    """What google-genai would not take in a config of known fields, naming the field; None: all is well."""
    try:
        config_of(config)
    except pydantic.ValidationError as exc:
        return complaint(exc, where)
    return None


def complaint(exc: pydantic.ValidationError, where: str) -> str:
    """The first thing pydantic found, as `where.field: what`."""
    first = min(exc.errors(include_url=False, include_context=False), key=lambda e: len(e["loc"]))
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    if " " in path or len(path) > 120:  # pydantic's names of a union's branches help nobody
        path = path.partition(" ")[0][:120]
    said = "is not known" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{where}{path}: {said}"


def _meant(field: str, known: Any) -> str:
    near = difflib.get_close_matches(field, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
