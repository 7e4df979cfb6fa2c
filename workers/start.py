"""The checks that a worker makes before it takes a message: it refuses what loses or doubles work."""

from __future__ import annotations

import logging
import sys
from typing import Any

from batchq import safety
from batchq.checks import Finding, Verdict, warn
from batchq.settings import Settings

log = logging.getLogger("batchq")


def refuse_or_warn(worker: Any, settings: Settings) -> tuple[str, ...]:
    """Log every warning, and return them; end the process with code 1 and one message when it must not start."""
    findings = [
        *safety.libraries(),
        *safety.worker(
            settings,
            pool=pool_name(worker),
            slots=max(worker.concurrency, getattr(worker, "max_concurrency", None) or 0),  # with --autoscale
            patched=_patched(),
            prefetch=int(worker.prefetch_multiplier),
            consumes=worker.app.amqp.queues.consume_from,
        ),
        *safety.servers(settings, away=_waits),
    ]
    warnings = tuple(str(finding) for finding in findings if finding.verdict is Verdict.WARN)
    for warning in warnings:
        log.warning("%s", warning)
    refused = [finding for finding in findings if finding.verdict is Verdict.FAIL]
    if refused:
        lines = "".join(f"\n  {finding}" for finding in refused)
        sys.stderr.write(f"this worker does not start:{lines}\n")
        sys.stderr.flush()
        raise SystemExit(1)
    return warnings


def pool_name(worker: Any) -> str:
    """Celery's short name of the worker's pool."""
    module: str = worker.pool_cls.__module__
    return {"thread": "threads"}.get(name := module.rpartition(".")[2], name)


def _patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def _waits(text: str, _variable: str) -> Finding:
    return warn("server", text, "this worker waits for it")
