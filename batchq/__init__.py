"""batchq: language-model work in bulk, on Celery and Redis. The names below are the Python interface."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchq.async_client import AsyncClient, AsyncJob
    from batchq.client import Client, Job
    from batchq.core.lifecycle import ItemState, JobState
    from batchq.core.records import DeadLetter, Item, JobStatus, Result
    from batchq.errors import (
        BatchqError,
        ConfigurationError,
        Conflict,
        Fatal,
        InputError,
        NotEnoughMemory,
        NotFound,
        ProviderError,
        Rejected,
        StoreUnavailable,
        Throttled,
        Unavailable,
        WaitTimeout,
    )
    from batchq.operations.registry import operation

# loaded when first used, so that `import batchq` and `batchq --help` stay quick
_HOMES = {
    "AsyncClient": "async_client",
    "AsyncJob": "async_client",
    "Client": "client",
    "Job": "client",
    "ItemState": "core.lifecycle",
    "JobState": "core.lifecycle",
    "DeadLetter": "core.records",
    "Item": "core.records",
    "JobStatus": "core.records",
    "Result": "core.records",
    "operation": "operations.registry",
    **dict.fromkeys(
        (
            "BatchqError",
            "ConfigurationError",
            "Conflict",
            "Fatal",
            "InputError",
            "NotEnoughMemory",
            "NotFound",
            "ProviderError",
            "Rejected",
            "StoreUnavailable",
            "Throttled",
            "Unavailable",
            "WaitTimeout",
        ),
        "errors",
    ),
}

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "BatchqError",
    "Client",
    "ConfigurationError",
    "Conflict",
    "DeadLetter",
    "Fatal",
    "InputError",
    "Item",
    "ItemState",
    "Job",
    "JobState",
    "JobStatus",
    "NotEnoughMemory",
    "NotFound",
    "ProviderError",
    "Rejected",
    "Result",
    "StoreUnavailable",
    "Throttled",
    "Unavailable",
    "WaitTimeout",
    "operation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
