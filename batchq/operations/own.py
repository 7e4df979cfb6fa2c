"""An operation made of a plain function of the user's."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from batchq.core.records import Answer, Json
from batchq.errors import ConfigurationError, ProviderError, Rejected, Unavailable
from batchq.operations.base import Blob, Call

Function = Callable[..., Any]
Check = Callable[[Mapping[str, Any]], str | None]

# A bug or a bad input: another attempt would end alike. Everything else may pass.
FOR_GOOD = (ValueError, TypeError, LookupError, AssertionError, NotImplementedError)
LONGEST = 500  # characters of an exception's text that are kept


class Own:
    """Runs a function on each item. Where its input or output is annotated as a Pydantic model, that is what it gets
    and gives; inputs are checked when they are submitted.

    ProviderErrors that it raises keep their meaning; ValueError, TypeError, LookupError, AssertionError and
    NotImplementedError fail the item; OSError (TimeoutError, ConnectionError) and all others are tried again.
    """

    def __init__(
        self, name: str, function: Function, *, model: str | None, needs_provider: bool, check: Check | None
    ) -> None:
        self.name = name
        self.default_model = model
        takes, gives = _models(function)
        self._input = takes
        self.default_schema: Mapping[str, Any] | None = gives.model_json_schema() if gives else None
        self.needs_provider = needs_provider
        self.where = f"{function.__module__}.{getattr(function, '__qualname__', function)}"
        self._function = function
        self._check = check
        self._takes_call = _takes_call(function, self.where)

    def check(
        self,
        input: Mapping[str, Any],
        model: str | None,  # noqa: ARG002
    ) -> str | None:
        if self._input is not None and (problem := _misfit(self._input, input)) is not None:
            return problem
        return self._check(input) if self._check else None

    def check_file(self, blob: Blob) -> str | None:  # noqa: ARG002
        return None

    def check_job(
        self,
        options: Mapping[str, Any],  # noqa: ARG002
        schema: Mapping[str, Any] | None,
    ) -> str | None:
        from batchq.operations.schemas import check_schema

        return None if schema is None else check_schema(schema)

    def run(self, call: Call) -> Answer:
        try:
            given = self._input.model_validate(call.input) if self._input else call.input
            value = self._function(given, call) if self._takes_call else self._function(given)
        except ProviderError:
            raise
        except FOR_GOOD as exc:
            raise Rejected(_said(exc), kind=type(exc).__name__) from exc
        except SystemExit as exc:  # sys.exit() in the user's code must not end the worker
            raise Rejected(f"the operation called sys.exit({exc.code})", kind="SystemExit") from exc
        except Exception as exc:
            raise Unavailable(_said(exc), kind=type(exc).__name__) from exc
        return value if isinstance(value, Answer) else self._answer(value, call)

    def _answer(self, value: Any, call: Call) -> Answer:
        if hasattr(value, "model_dump"):
            value = value.model_dump(mode="json")
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            text.encode()
        except (TypeError, ValueError, RecursionError) as exc:
            raise Rejected(
                f"operation {self.name} returned a {type(value).__name__} that is no JSON value: {exc}",
                kind="NOT_JSON",
            ) from exc
        data: Json = json.loads(text)  # as readers will see it: tuples are lists, keys are texts
        if call.schema is not None:
            from batchq.operations.schemas import misfit

            if problem := misfit(data, call.schema):
                raise Rejected(f"the output does not fit the schema: {problem}", kind="SCHEMA_MISMATCH")
        return Answer(
            {"output": data}, text=data if isinstance(data, str) else None, data=data, model=call.model
        )


def _models(function: Function) -> tuple[Any, Any]:
    """The Pydantic models that the function's input and output are annotated with; None where they are not."""
    try:
        hints = get_type_hints(function)
        names = list(inspect.signature(function).parameters)
    except Exception:  # annotations may be anything
        return None, None
    first = hints.get(names[0]) if names else None
    return tuple(one if hasattr(one, "model_validate") else None for one in (first, hints.get("return")))  # type: ignore[return-value]


def _misfit(model: Any, input: Mapping[str, Any]) -> str | None:
    """The first thing that makes an input none of the model's, by field."""
    try:
        model.model_validate(input)
    except ValueError as exc:
        first = exc.errors(include_url=False)[0]  # type: ignore[attr-defined]
        where = ".".join(str(step) for step in first["loc"])
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    return None


def _takes_call(function: Function, where: str) -> bool:
    """Whether the function wants the Call too. Raises ConfigurationError for what cannot be run."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"operation {where} is async: workers run plain functions")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False  # some built-ins do not say; they are called with the input alone
    for arguments in (2, 1):
        try:
            signature.bind(*range(arguments))
        except TypeError:
            continue
        positional = [
            p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        second = positional[1] if len(positional) > 1 else None
        return second is not None and (second.default is second.empty or second.name == "call")
    raise ConfigurationError(f"operation {where} must take (input) or (input, call)")


def _said(exc: Exception) -> str:
    text = str(exc) or type(exc).__name__
    text = text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
