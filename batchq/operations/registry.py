"""The operations of a process: the built-in ones, and the user's own from BATCHQ_INCLUDE or an installed package.

from batchq.operations.registry import operation

@operation("shout")
def shout(input):
    return {"loud": input["prompt"].upper()}
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar, Unpack

from batchq.errors import ConfigurationError
from batchq.operations.base import Operation
from batchq.operations.declared import Declared, Defaults, declared
from batchq.operations.own import Check, Errors, Function, Own, where_of
from batchq.providers.base import Provider

BUILT_IN = ("embed", "extract", "generate", "image", "review")
GROUP = "batchq.operations"  # of entry points
NOT_FOUND = "is not on the Python path: correct its name, or set PYTHONPATH to the folder that it lies in"
RESERVED = frozenset({"control", "dead_letter"})  # the names of batchq's own queues

F = TypeVar("F", bound=Function)

_own: dict[str, Own] = {}
_defaults: dict[str, Declared] = {}  # of those that say something
_built: dict[str, Operation] = {}
_provider: Callable[[], Provider] | None = None


def names() -> list[str]:
    """All operations this process knows, sorted."""
    return sorted([*BUILT_IN, *_own])


def own() -> list[str]:
    """Those of the user's, sorted."""
    return sorted(_own)


def defaults() -> dict[str, Declared]:
    """What the user's operations say of themselves, by name; those that say nothing are left out."""
    return dict(_defaults)


def get(name: str) -> Operation:
    """The operation of that name. Raises ConfigurationError, which lists what there is."""
    if name in _own:
        return _own[name]
    if name not in BUILT_IN:
        raise ConfigurationError(
            f"there is no operation {name!r}, only {', '.join(names())}; operations of your own come from "
            "the modules named in BATCHQ_INCLUDE"
        )
    if name not in _built:
        _built[name] = _build(name)
    return _built[name]


def use(provider: Callable[[], Provider]) -> None:
    """Say where built-in operations get the provider; called at each item, so it keeps the one it built."""
    global _provider
    _provider = provider


def load(modules: Iterable[str]) -> None:
    """Import modules with operations of the user's. Raises ConfigurationError naming the module."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ConfigurationError:
            raise
        except Exception as exc:
            missing = isinstance(exc, ModuleNotFoundError) and exc.name in _with_parents(module)
            why = NOT_FOUND if missing else f"failed: {type(exc).__name__}: {exc}"
            raise ConfigurationError(f"BATCHQ_INCLUDE: importing {module!r} {why}") from exc


@cache
def load_installed() -> None:
    """Import what installed packages bring: entry points of the group batchq.operations, each a module or what makes its
    operations when it is imported. Raises ConfigurationError naming the package."""
    for found in entry_points(group=GROUP):
        package = found.dist.name if found.dist is not None else "a package"
        try:
            found.load()
        except ConfigurationError:
            raise
        except Exception as exc:
            raise ConfigurationError(
                f"the operations of {package} cannot be loaded ({GROUP}: {found.value}): {type(exc).__name__}: {exc}; "
                "repair or uninstall it"
            ) from exc


def operation(
    name: str,
    *,
    model: str | None = None,
    needs_provider: bool = False,
    check: Check | None = None,
    retry_on: Errors = (),
    fail_on: Errors = (),
    **defaults: Unpack[Defaults],
) -> Callable[[F], F]:
    """Make a plain function an operation: `f(input)` or `f(input, call)`, returning a JSON value or an Answer.

    `model` is its default one, for functions that ask a model themselves (None: it takes none, and no
    quota of one); `check(input)` says what is wrong with an input before it is stored, or None. What it
    raises decides on a retry, where `retry_on` and `fail_on` say no other, see batchq/operations/own.py.

    queue, rpm, tpm, rpd, concurrency, max_attempts, timeout_s, backoff_s, backoff_max_s and max_rate_limit_wait_s are
    its defaults, where `[operations.NAME]` and `[queues.QUEUE]` set nothing. Raises ConfigurationError.
    """

    def register(function: F) -> F:
        _refuse_name(name, function)
        said = declared(where_of(function), defaults, RESERVED)
        _own[name] = Own(
            name,
            function,
            model=model,
            needs_provider=needs_provider,
            check=check,
            retry_on=retry_on,
            fail_on=fail_on,
        )
        _defaults.pop(name, None)
        if said is not None:
            _defaults[name] = said
        return function

    return register


def _refuse_name(name: str, function: Function) -> None:
    where = where_of(function)
    if name in BUILT_IN or name in RESERVED:
        raise ConfigurationError(f"operation {name!r} of {where} has a name of batchq's own: choose another")
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise ConfigurationError(
            f"operation {name!r} of {where}: a name is lower-case letters, digits, - and _, at most 63"
        )
    if name in _own and _own[name].where != where:
        raise ConfigurationError(f"operation {name!r} is defined by both {_own[name].where} and {where}")


def _build(name: str) -> Operation:
    from batchq.operations.generate import no_provider

    def provider() -> Provider:
        return (_provider or no_provider)()

    if name == "embed":
        from batchq.operations.embed import Embed

        return Embed(provider)
    if name == "extract":
        from batchq.operations.extract import Extract

        return Extract(provider)
    if name == "image":
        from batchq.operations.image import Image

        return Image(provider)
    if name == "review":
        from batchq.operations.review import Review

        return Review(provider)
    from batchq.operations.generate import Generate

    return Generate(provider)


def _with_parents(module: str) -> set[str]:
    steps = module.split(".")
    return {".".join(steps[:count]) for count in range(1, len(steps) + 1)}
