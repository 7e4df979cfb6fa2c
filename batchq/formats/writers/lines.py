"""A result as a line of Gemini Batch output, and as the flat row of the tables."""

from __future__ import annotations

import json
import math
from typing import Any

from batchq.core.lifecycle import ItemState
from batchq.core.records import Json, JsonObject, Outcome, Result

# Unescaped they are fine JSON, but `str.splitlines` and its kin take them for line ends.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def result_line(result: Result) -> JsonObject:
    """The object of a results line: `key`, then `response` or `error`, then `batchq`.

    A successful item always has all six fields in `batchq` (`model` null for an operation without one,
    `cost_usd` null where no price is known); another has status, attempts and what else is known.
    """
    outcome = result.outcome
    about: JsonObject = {"status": str(outcome.status), "attempts": outcome.attempts}
    details = {
        "duration_ms": outcome.duration_ms,
        "waited_ms": outcome.waited_ms,
        "model": outcome.model,
        "cost_usd": _cost(outcome),
    }
    if outcome.status is ItemState.SUCCEEDED:
        return {"key": result.id, "response": outcome.response or {}, "batchq": {**about, **details}}
    known = {key: value for key, value in details.items() if value}
    return {"key": result.id, "error": error_of(result), "batchq": {**about, **known}}


def result_row(result: Result) -> JsonObject:
    """The row of json and csv. `tokens` is input + output; `cost` USD, None where no price is known."""
    succeeded = result.status is ItemState.SUCCEEDED
    usage = result.outcome.usage
    return {
        "id": result.id,
        "status": str(result.status),
        "text": result.text if succeeded else None,
        "data": _data(result) if succeeded else None,
        "error": None if succeeded else error_of(result),
        "attempts": result.attempts,
        "duration_ms": result.duration_ms,
        "tokens": usage.input_tokens + usage.output_tokens,
        "cost": _cost(result.outcome),
    }


def _data(result: Result) -> Json:
    """The answer's data; of drawn pictures where their files lie."""
    if result.operation != "image":
        return result.data
    parts = [
        part
        for candidate in (result.response or {}).get("candidates") or ()
        for part in (candidate.get("content") or {}).get("parts") or ()
    ]
    return [part["fileData"]["fileUri"] for part in parts if "fileData" in part] or None


def _cost(outcome: Outcome) -> float | None:
    """To a billionth: what is beyond is the noise of floats."""
    return None if outcome.cost_usd is None else round(outcome.cost_usd, 9)


def error_of(result: Result) -> JsonObject:
    """Every item that did not succeed has an error, also one that nobody tried."""
    if result.error is not None:
        return result.error.wire()
    if result.status is ItemState.CANCELLED:
        return {"code": 0, "status": "CANCELLED", "message": "the item was cancelled before it was done"}
    return {"code": 0, "status": "UNKNOWN", "message": f"the item is {result.status}"}


def encode(value: Json) -> bytes:
    """One line of strict JSON in UTF-8, without its line end, whatever an answer holds.

    Half of a surrogate pair becomes U+FFFD and NaN or Infinity null: no JSON reader takes them.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)
    for char, escape in _LINE_ENDS.items():
        if char in text:
            text = text.replace(char, escape)
    return utf8(text)


def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # By way of UTF-16, which joins the halves that do belong together.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
