"""What loses or doubles work when it is set wrongly: looked at by every worker at its start, and by `doctor`.

Facts come in, findings go out. A worker refuses to start on a FAIL and logs each WARN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchq.store.fleet import Beat

OLDEST_SERVER = (7, 0)  # Redis: what the store's scripts need
LIBRARIES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    # from, below: as in pyproject.toml (a test compares them)
    "celery": ((5, 7), (5, 8)),
    "kombu": ((5, 7), (5, 8)),
    "redis": ((6, 4), (9,)),
}
SPARE_CONNECTIONS = 50  # to the broker, beside one a slot: acknowledgements are lost where none is free
FILES_A_SLOT = 2  # a connection to the provider, and one to Redis now and then
SPARE_FILES = 200
POOLS = ("gevent", "prefork", "threads", "solo")


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"  # it works, but not as it should
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `remedy` empty: nothing to do."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.text}" + (f". Remedy: {self.remedy}" if self.remedy else "")

    def to_json(self) -> dict[str, str]:
        return {**asdict(self), "verdict": str(self.verdict)}


def ok(check: str, text: str) -> Finding:
    return Finding(check, Verdict.OK, text)


def warn(check: str, text: str, remedy: str = "") -> Finding:
    return Finding(check, Verdict.WARN, text, remedy)


def fail(check: str, text: str, remedy: str = "") -> Finding:
    return Finding(check, Verdict.FAIL, text, remedy)


def server(where: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    """A Redis as its INFO describes it: new enough, and keeping what it is given. `where` is its address, masked."""
    its_version = str(info.get("redis_version", "0"))
    if _numbers(its_version) < OLDEST_SERVER:
        yield fail(
            "version",
            f"{where} is Redis {its_version}, older than {_dotted(OLDEST_SERVER)}",
            "upgrade the server",
        )
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        yield fail(
            "eviction",
            f"maxmemory-policy of {where} is {policy}: full memory would delete jobs",
            "CONFIG SET maxmemory-policy noeviction, and in its configuration",
        )
    else:
        yield ok("eviction", "maxmemory-policy is noeviction")
    yield from _persistence(where, info)


def _persistence(where: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    if not info.get("aof_enabled"):
        yield warn(
            "persistence",
            f"{where} has no append-only file: a restart loses jobs",
            "CONFIG SET appendonly yes, and in its configuration",
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield fail(
            "persistence",
            f"the last write of {where} to its append-only file failed",
            "free some space on its disk",
        )
    else:
        yield ok("persistence", "append-only file")


def libraries(installed: Mapping[str, str]) -> Iterator[Finding]:
    """Versions of the libraries that carry the messages; `installed` by name."""
    for name, (least, below) in LIBRARIES.items():
        found = installed.get(name, "0")
        if not least <= _numbers(found) < below:
            yield fail(
                "libraries",
                f"{name} {found} is installed, and batchq was made for {_dotted(least)} up to {_dotted(below)}",
                f"pip install '{name}>={_dotted(least)},<{_dotted(below)}'",
            )


def installed_libraries() -> dict[str, str]:
    """Version by name, of those of LIBRARIES that are there."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker is about to run with."""

    pool: str  # Celery's name of it
    slots: int  # items at once, children of prefork together
    patched: bool  # gevent has replaced the blocking calls
    prefetch: int  # messages taken ahead, times the slots; 0: without limit
    connections: int  # to the broker at most
    open_files: int | None  # the process may have; None: without limit
    asking: tuple[str, ...]  # queues it consumes whose operations ask Gemini
    provider: str | None  # why Gemini cannot be asked; None: it can


def worker(setup: WorkerSetup) -> Iterator[Finding]:
    """What a worker must have, and should have, before it takes a message."""
    yield from _pool(setup)
    if setup.asking and setup.provider is not None:
        yield fail(
            "provider",
            f"this worker consumes {', '.join(setup.asking)}, and cannot ask Gemini: {setup.provider}",
            "set the key, or name other queues with -Q",
        )
    if setup.connections < setup.slots + SPARE_CONNECTIONS:
        yield fail(
            "connections",
            f"{setup.slots} slots share {setup.connections} connections to the broker: acknowledgements would be "
            "lost, and items run twice",
            f"-c {setup.connections - SPARE_CONNECTIONS} at most, and more workers",
        )
    wanted = FILES_A_SLOT * setup.slots + SPARE_FILES
    if setup.pool != "prefork" and setup.open_files is not None and setup.open_files < wanted:
        yield warn(
            "open files",
            f"{setup.slots} slots may need {wanted} open files, and the limit is {setup.open_files}",
            f"ulimit -n {wanted}, or LimitNOFILE={wanted} in its unit",
        )


def limits(alive: Iterable[Beat]) -> Iterator[Finding]:
    """Whether live workers are configured alike. Of a queue's limits those have no say who do not consume it."""
    by_worker = {beat.name or beat.incarnation: beat for beat in alive}
    for table in sorted({name for beat in by_worker.values() for name in beat.limits}):
        kind, _, queue = table.partition(".")
        having: dict[str, list[str]] = {}
        for worker, beat in sorted(by_worker.items()):
            if kind != "queues" or queue in beat.queues:
                having.setdefault(beat.limits.get(table) or "no limit", []).append(worker)
        if len(having) > 1:
            told = "; ".join(f"{value} ({', '.join(workers)})" for value, workers in having.items())
            yield warn(
                "limits",
                f"workers differ in [{table}]: {told}; that of the worker started last holds",
                "give them the same batchq.toml, or set the limit for all: batchq quotas set",
            )


def _pool(setup: WorkerSetup) -> Iterator[Finding]:
    if setup.pool not in POOLS:
        yield fail("pool", f"batchq does not run on the {setup.pool} pool", "-P gevent (or prefork, threads)")
    if setup.pool == "gevent" and not setup.patched:
        yield fail(
            "pool",
            "gevent has patched nothing: one call at a time would run, and heartbeats would stop",
            "write `-P gevent`, with the space, on the command line; not -Pgevent, nor a setting",
        )
    if setup.prefetch == 0:
        yield fail(
            "prefetch",
            "the prefetch multiplier is 0: one worker would take every message of the fleet",
            "leave --prefetch-multiplier out",
        )
    elif setup.prefetch == 1 and setup.pool in ("gevent", "threads"):
        yield warn(
            "prefetch",
            f"with a prefetch multiplier of 1 a {setup.pool} worker stalls in waves",
            "leave --prefetch-multiplier out: 2 is set",
        )


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:3]
    return tuple(int(part) for part in parts if part.isdigit())


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
