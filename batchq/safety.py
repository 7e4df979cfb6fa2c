"""Looks for what loses or doubles work: each worker at its start, `batchq doctor` when asked. The rules are in checks.py.

A worker refuses to start on a FAIL and logs each WARN.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from typing import Any

from batchq import checks, wiring
from batchq.checks import Finding, WorkerSetup, fail, ok, warn
from batchq.dispatch import POOL
from batchq.errors import BatchqError, ConfigurationError, StoreUnavailable
from batchq.settings import Settings
from batchq.store.database import Database

LONGEST_S = 5.0  # that a server may take to say how it is set
# makes the finding for a server that does not answer, of what happened and the variable that names the server: a
# worker waits for it, doctor does not
Away = Callable[[str, str], Finding]


def libraries() -> Iterator[Finding]:
    """Whether the libraries that carry the messages are those that batchq was made for."""
    installed = checks.installed_libraries()
    found = list(checks.libraries(installed))
    yield from found or [ok("libraries", ", ".join(f"{name} {its}" for name, its in installed.items()))]


def worker(
    settings: Settings, *, pool: str, slots: int, patched: bool, prefetch: int, consumes: Collection[str]
) -> Iterator[Finding]:
    """A worker with these options of Celery's, in this process's surroundings. `consumes`: Celery queues."""
    setup = WorkerSetup(
        pool=pool,
        slots=slots,
        patched=patched,
        prefetch=prefetch,
        connections=POOL,
        open_files=_open_files(),
        asking=tuple(sorted(wiring.asking_queues(settings) & set(consumes))),
        provider=_provider_trouble(),
    )
    found = list(checks.worker(setup))
    yield from found or [ok("worker", f"{slots} slots ({pool}) have what they need")]


def servers(settings: Settings, *, away: Away) -> Iterator[Finding]:
    """The store's server, and those of broker and result backend where they are others."""
    urls = {
        "BATCHQ_REDIS_URL": settings.store_url,
        "BATCHQ_BROKER_URL": settings.broker_url,
        "BATCHQ_RESULT_BACKEND": settings.result_backend,
    }
    seen = set()
    for variable, url in urls.items():
        if not url:
            continue
        database = Database(url, settings.namespace, timeout_s=min(LONGEST_S, settings.socket_timeout_s))
        try:
            if database.address.shown not in seen:
                seen.add(database.address.shown)
                yield from _server(database, variable, away)
        finally:
            database.close()


def _server(database: Database, variable: str, away: Away) -> Iterator[Finding]:
    where = database.address.shown
    info: dict[str, Any] = {}
    try:
        for section in ("server", "memory", "persistence"):
            info |= database.command("INFO", section)
    except StoreUnavailable as exc:
        yield away(str(exc), variable)
    except ConfigurationError as exc:  # a wrong password, or an ACL without INFO
        yield (warn if "INFO" in str(exc).upper() else fail)("server", str(exc))
    except BatchqError as exc:
        yield warn("server", f"{where} does not say how it is set: {exc}")
    else:
        yield ok("server", f"{where} answers, version {info.get('redis_version', 'unknown')}")
        yield from checks.server(where, info)


def _open_files() -> int | None:
    if os.name != "posix":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _provider_trouble() -> str | None:
    try:
        wiring.provider()
    except ConfigurationError as exc:
        return str(exc)
    return None
