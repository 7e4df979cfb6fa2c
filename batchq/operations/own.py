"""An operation made of a plain function of the user's."""

from __future__ import annotations

import inspect
import json
import signal
from collections.abc import Callable, Collection, Mapping
from typing import Any

from batchq.core.records import Answer, Json
from batchq.errors import ConfigurationError, ProviderError, Rejected, Unavailable, Unsendable
from batchq.operations.base import Blob, Call
from batchq.operations.typed import Misfit, types_of

Function = Callable[..., Any]
Check = Callable[[Mapping[str, Any]], str | None]
Errors = type[Exception] | Collection[type[Exception]]

# A bug or a bad input: another attempt would end alike. Everything else may pass.
FOR_GOOD = (ValueError, TypeError, LookupError, AssertionError, NotImplementedError)
# What billiard ends a child of prefork with that was told to by a signal, in the middle of an operation too
TOLD_TO_END = frozenset(-(256 - number) for number in signal.valid_signals())
LONGEST = 500  # characters of an exception's text that are kept


class Own:
    """Runs a function on each item. Where its input or output is annotated with a type (a Pydantic model, a dataclass,
    a TypedDict), that is what it gets and gives; inputs are checked when they are submitted, and again before the call.

    ProviderErrors that it raises keep their meaning. Of all others the nearest class that is named decides: those of
    `retry_on` are tried again; those of `fail_on`, ValueError, TypeError, LookupError, AssertionError and
    NotImplementedError fail the item; OSError (TimeoutError, ConnectionError) and whatever is left are tried again.
    """

    def __init__(
        self,
        name: str,
        function: Function,
        *,
        model: str | None,
        needs_provider: bool,
        check: Check | None,
        retry_on: Errors,
        fail_on: Errors,
    ) -> None:
        """Raises ConfigurationError for what cannot be run."""
        self.name = name
        self.default_model = model
        self.where = where_of(function)
        self._takes_call = _takes_call(function, self.where)
        self._takes, self._gives = types_of(function, self.where)
        self.default_schema: Mapping[str, Any] | None = self._gives.schema if self._gives else None
        self.needs_provider = needs_provider
        self._function = function
        self._check = check
        self._retry_on, self._fail_on = _errors(self.where, retry_on, fail_on)

    def check(
        self,
        input: Mapping[str, Any],
        model: str | None,  # noqa: ARG002
    ) -> str | None:
        if self._takes is not None:
            try:
                self._takes.take(input)
            except Misfit as exc:
                return str(exc)
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
            # the worker's function may be another than the submitter's was
            given = self._takes.take(call.input) if self._takes else call.input
        except Misfit as exc:
            raise Unsendable(str(exc), kind="INVALID_INPUT") from None
        try:
            value = self._function(given, call) if self._takes_call else self._function(given)
        except ProviderError:
            raise
        except SystemExit as exc:  # sys.exit() in the user's code must not end the worker
            if exc.code in TOLD_TO_END:
                raise
            raise Rejected(f"the operation called sys.exit({exc.code})", kind="SystemExit") from exc
        except Exception as exc:
            kind = Rejected if self._is_for_good(exc) else Unavailable
            raise kind(_said(exc), kind=type(exc).__name__) from exc
        return value if isinstance(value, Answer) else self._answer(value, call)

    def _is_for_good(self, error: Exception) -> bool:
        for kind in type(error).__mro__:
            if kind in self._retry_on:
                return False
            if kind in self._fail_on or kind in FOR_GOOD:
                return True
        return False

    def _answer(self, value: Any, call: Call) -> Answer:
        try:
            if self._gives is not None:
                value = self._gives.give(value)
            elif hasattr(value, "model_dump"):
                value = value.model_dump(mode="json")
        except Misfit as exc:
            raise Rejected(
                f"operation {self.name} returned what is not of its type: {exc}", kind="SCHEMA_MISMATCH"
            ) from None
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            text.encode()
        except (TypeError, ValueError, RecursionError) as exc:
            raise Rejected(
                f"operation {self.name} returned a {type(value).__name__} that is no JSON value: {exc}",
                kind="NOT_JSON",
            ) from exc
        data: Json = json.loads(text)  # as readers will see it: tuples are lists, keys are texts
        if call.schema is not None and call.schema != self.default_schema:
            from batchq.operations.schemas import misfit

            if problem := misfit(data, call.schema):
                raise Rejected(f"the output does not fit the schema: {problem}", kind="SCHEMA_MISMATCH")
        return Answer(
            {"output": data}, text=data if isinstance(data, str) else None, data=data, model=call.model
        )


def where_of(function: Function) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def _errors(where: str, retry_on: Errors, fail_on: Errors) -> tuple[frozenset[type[Exception]], ...]:
    """Raises ConfigurationError for what is no class of errors, or would be both."""
    kinds = []
    for name, given in (("retry_on", retry_on), ("fail_on", fail_on)):
        classes = given if isinstance(given, Collection) else (given,)
        if not all(isinstance(one, type) and issubclass(one, Exception) for one in classes):
            raise ConfigurationError(
                f"operation {where}: {name}={given!r} names no error classes: give some, as (TimeoutError, KeyError)"
            )
        kinds.append(frozenset(classes))
    if both := kinds[0] & kinds[1]:
        named = ", ".join(sorted(one.__name__ for one in both))
        raise ConfigurationError(
            f"operation {where}: {named} cannot be in retry_on and fail_on: name it in one of them"
        )
    return tuple(kinds)


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
