"""The checks that a worker makes before it takes a message: it refuses what loses or doubles work."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from batchq import checks, wiring
from batchq.checks import Finding, Verdict, WorkerSetup
from batchq.core.redis_url import parse
from batchq.dispatch import POOL
from batchq.errors import BatchqError, ConfigurationError, StoreUnavailable
from batchq.settings import Settings
from batchq.store.database import Database

log = logging.getLogger("batchq")


def refuse_or_warn(worker: Any, settings: Settings) -> None:
    """Log every warning; end the process with code 1 and one message when it must not start."""
    findings = [
        *checks.libraries(checks.installed_libraries()),
        *checks.worker(setup_of(worker, settings)),
        *_servers(settings),
    ]
    for finding in findings:
        if finding.verdict is Verdict.WARN:
            log.warning("%s", finding)
    refused = [finding for finding in findings if finding.verdict is Verdict.FAIL]
    if refused:
        lines = "".join(f"\n  {finding}" for finding in refused)
        sys.stderr.write(f"this worker does not start:{lines}\n")
        sys.stderr.flush()
        raise SystemExit(1)


def setup_of(worker: Any, settings: Settings) -> WorkerSetup:
    """What Celery is about to start."""
    return WorkerSetup(
        pool=pool_name(worker),
        slots=max(worker.concurrency, getattr(worker, "max_concurrency", None) or 0),  # with --autoscale
        patched=_patched(),
        prefetch=int(worker.prefetch_multiplier),
        connections=POOL,
        open_files=_open_files(),
        asking=_asking(worker, settings),
        provider=_provider_trouble(),
    )


def pool_name(worker: Any) -> str:
    """Celery's short name of the worker's pool."""
    module: str = worker.pool_cls.__module__
    return {"thread": "threads"}.get(name := module.rpartition(".")[2], name)


def _patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def _open_files() -> int | None:
    if os.name != "posix":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _asking(worker: Any, settings: Settings) -> tuple[str, ...]:
    """The queues it consumes whose operations ask Gemini."""
    return tuple(sorted(wiring.asking_queues(settings) & set(worker.app.amqp.queues.consume_from)))


def _provider_trouble() -> str | None:
    try:
        wiring.provider()
    except ConfigurationError as exc:
        return str(exc)
    return None


def _servers(settings: Settings) -> Iterator[Finding]:
    """The store's server, and broker and result backend where they are others."""
    urls = [settings.store_url, settings.broker_url, settings.result_backend]
    places = {parse(url).shown: url for url in reversed(urls) if url}
    for where, url in reversed(places.items()):
        database = Database(url, settings.namespace, timeout_s=min(5.0, settings.socket_timeout_s))
        try:
            info: dict[str, Any] = {}
            for section in ("server", "memory", "persistence"):
                info |= database.command("INFO", section)
        except StoreUnavailable as exc:
            yield checks.warn("server", f"{exc}", "this worker waits for it")
        except ConfigurationError as exc:  # a wrong password, or an ACL without INFO
            verdict = checks.warn if "INFO" in str(exc).upper() else checks.fail
            yield verdict("server", str(exc))
        except BatchqError as exc:
            yield checks.warn("server", f"{where} does not say how it is set: {exc}")
        else:
            yield from checks.server(where, info)
        finally:
            database.close()
