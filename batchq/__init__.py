"""batchq: language-model work in bulk, on Celery and Redis. The names below are the Python interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchq.core.lazily import lazily

if TYPE_CHECKING:
    from batchq.async_client import AsyncClient, AsyncJob
    from batchq.client import Client, Job
    from batchq.collector import Collector
    from batchq.core.job import JobStatus
    from batchq.core.lifecycle import ItemState, JobState
    from batchq.core.records import DeadLetter, Item, Result
    from batchq.errors import (
        BatchqError,
        ConfigurationError,
        Conflict,
        Fatal,
        InputError,
        NotEnoughMemory,
        NotFound,
        NoWorkerWarning,
        ProviderError,
        Rejected,
        StoreUnavailable,
        Throttled,
        Unavailable,
        WaitTimeout,
    )
    from batchq.flow.plan import Plan
    from batchq.operations.registry import operation

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "BatchqError",
    "Client",
    "Collector",
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
    "NoWorkerWarning",
    "NotEnoughMemory",
    "NotFound",
    "Plan",
    "ProviderError",
    "Rejected",
    "Result",
    "StoreUnavailable",
    "Throttled",
    "Unavailable",
    "WaitTimeout",
    "operation",
]

# `import batchq` and `batchq --help` stay quick
__getattr__ = lazily(
    __name__,
    {
        "async_client": ("AsyncClient", "AsyncJob"),
        "client": ("Client", "Job"),
        "core.lifecycle": ("ItemState", "JobState"),
        "collector": ("Collector",),
        "core.job": ("JobStatus",),
        "core.records": ("DeadLetter", "Item", "Result"),
        "flow.plan": ("Plan",),
        "errors": (
            "BatchqError",
            "ConfigurationError",
            "Conflict",
            "Fatal",
            "InputError",
            "NoWorkerWarning",
            "NotEnoughMemory",
            "NotFound",
            "ProviderError",
            "Rejected",
            "StoreUnavailable",
            "Throttled",
            "Unavailable",
            "WaitTimeout",
        ),
        "operations.registry": ("operation",),
    },
)
