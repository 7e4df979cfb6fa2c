"""A job's options: GenerateContentConfig fields in snake_case or camelCase, and `prompt`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchq.core.records import JsonObject
from batchq.providers.base import snake

PROMPT = "prompt"  # an instruction that goes with each file or text


def _number(low: float, high: float) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"must be a number from {low:g} to {high:g}"

    return check


def _whole(low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"must be a whole number from {low:,} to {high:,}"

    return check


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "must be a text, and not empty"


def _texts(value: Any) -> str | None:
    fits = isinstance(value, list) and value and all(isinstance(entry, str) and entry for entry in value)
    return None if fits else "must be a list of texts"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


_LARGEST = 2**31 - 1  # int32 on the wire

# The ranges Gemini documents. google-genai checks types only; a job whose every call would be refused is
# better refused before it is stored.
RULES: dict[str, Callable[[Any], str | None]] = {
    PROMPT: _text,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "top_k": _number(1, 1_000_000),
    "candidate_count": _whole(1, 8),
    "max_output_tokens": _whole(1, _LARGEST),
    "seed": _whole(-_LARGEST - 1, _LARGEST),
    "logprobs": _whole(0, 20),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "response_logprobs": _flag,
    "stop_sequences": _texts,
    "response_mime_type": _text,
    "cached_content": _text,
}


def output_limit(options: Mapping[str, Any], input: Mapping[str, Any]) -> int:
    """Output tokens that an answer has at most, thoughts among them; 0: nobody said."""
    request = input.get("request")
    own = request if isinstance(request, Mapping) else {}
    config: dict[str, Any] = {snake(name): value for name, value in options.items()}
    for name in ("config", "generation_config", "generationConfig"):
        if isinstance(own.get(name), Mapping):
            config.update({snake(key): value for key, value in own[name].items()})
    most, candidates = config.get("max_output_tokens"), config.get("candidate_count") or 1
    return most * candidates if isinstance(most, int) and isinstance(candidates, int) else 0


def check_ranges(config: Mapping[str, Any], where: str = "") -> str | None:
    """The first value out of its documented range, by name; None: none is."""
    for name, value in config.items():
        rule = RULES.get(name)
        problem = rule(value) if rule else None
        if problem:
            return f"{where}{name} {problem}, not {_shown(value)}"
    return None


def check_options(options: Mapping[str, Any]) -> str | None:
    """What is wrong with a job's options; None: nothing.

    google-genai (1.5 s to import) is asked only about options that have no rule of their own above.
    """
    named: JsonObject = {}
    for name, value in options.items():
        if snake(name) in named:
            return f"option {name} is given twice, in both spellings"
        if value is not None:
            named[snake(name)] = value
    problem = check_ranges(named, "option ")
    others = {name: value for name, value in named.items() if name not in RULES}
    if problem or not others:
        return problem
    from batchq.providers.gemini.requests import check_config, unknown_option

    for name in others:
        if problem := unknown_option(name):
            return f"option {name} {problem}"
    return check_config(others, "option")


def split(options: Mapping[str, Any]) -> tuple[JsonObject, str | None]:
    """Options as GenerateContentConfig fields in snake_case, and the prompt."""
    config = {snake(name): value for name, value in options.items() if value is not None}
    prompt = config.pop(PROMPT, None)
    return config, prompt


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
