"""What doctor looks at. Each check answers with findings; none raises."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from batchq.checks import Finding, Verdict, fail, limits, ok, warn
from batchq.core.redis_url import parse
from batchq.errors import BatchqError, ConfigurationError

if TYPE_CHECKING:
    from batchq.settings import Settings
    from batchq.store.fleet import Beat

__all__ = ["Effective", "Finding", "Verdict", "effective", "fail", "ok", "warn"]

BROKER_S = 5
DECLARED = "@operation"
URL_SETTINGS = frozenset({"redis_url", "broker_url", "result_backend"})


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting in force and where it comes from; secrets masked."""

    name: str
    value: Any  # plain JSON
    origin: str  # "default", "BATCHQ_…", a file's path; what operations say of themselves: "@operation"


def effective(given: Settings, in_force: Settings) -> list[Effective]:
    """All settings, in the order of docs/settings.md. `in_force`: with what operations say of themselves."""
    from batchq.settings import config_file, variable_of

    path = config_file()
    in_file = tomllib.loads(path.read_text()) if path is not None else {}
    found = []
    for name, value in in_force.model_dump(mode="json").items():
        variable = variable_of((name,))
        if os.environ.get(variable) or any(key.startswith(f"{variable}__") for key in os.environ):
            origin = variable
        else:
            origin = str(path) if name in in_file else "default"
        if getattr(in_force, name) != getattr(given, name):
            origin = DECLARED if origin == "default" else f"{origin}, {DECLARED}"
        shown = masked(value) if name in URL_SETTINGS and isinstance(value, str) else value
        found.append(Effective(name, shown, origin))
    return found


def masked(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = "&".join("password=***" if "password=" in one else one for one in parts.query.split("&"))
    return urlunsplit(parts._replace(netloc=f"{user}:***@{hosts}" if at else parts.netloc, query=query))


def encryption(settings: Settings) -> Iterator[Finding]:
    """Whether what goes to the servers can be read on the way: submissions by message carry their prompts."""
    urls = (settings.store_url, settings.broker_url, settings.result_backend)
    for address in dict.fromkeys(parse(url) for url in urls if url):
        if not address.is_local and not address.tls and not address.sentinels:
            yield warn("encryption", f"{address.shown} is another machine and not encrypted", "use rediss://")


def broker(settings: Settings) -> Iterator[Finding]:
    """Whether messages can be sent."""
    from batchq.dispatch import make_app

    where = masked(settings.broker_url) if settings.broker_url else "the job store's server"
    try:
        with make_app(settings).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=BROKER_S)
    except Exception as exc:  # kombu raises what its transports raise
        yield fail(
            "broker", f"{where}: {type(exc).__name__}: {exc}", "start it, or correct BATCHQ_BROKER_URL"
        )
    else:
        yield ok("broker", f"{where} takes messages")


def provider(settings: Settings, *, ask: bool) -> Iterator[Finding]:
    """Whether this process could ask Gemini, and whether Gemini takes the key and knows the model."""
    from batchq import wiring
    from batchq.operations import registry
    from batchq.providers.gemini import GeminiConfig

    try:
        config = GeminiConfig.from_env(os.environ)
    except ConfigurationError as exc:
        yield warn(
            "provider",
            f"{exc}",
            "until then a worker that is started here refuses; those of `batchq run` ask the emulator",
        )
        return
    if not ask:
        yield ok("provider", f"{config.where} (not asked)")
        return
    model = settings.operation("generate").model or registry.get("generate").default_model
    assert model is not None
    try:
        wiring.provider().preflight([model])
    except BatchqError as exc:
        yield fail("provider", f"{config.where}: {exc}", "correct the key, the project or the model")
    else:
        yield ok("provider", f"{config.where} takes the key and has {model}")


def fleet(settings: Settings) -> Iterator[Finding]:
    """Who lives, which queues nobody consumes, whose quota each queue uses."""
    from batchq import wiring
    from batchq.store.fleet import FleetStore
    from batchq.store.job_record import RUN_EMULATOR

    try:
        store = FleetStore(wiring.database(settings))
        beats, dropped = store.alive(int(settings.lease_s * 1000)), store.dropped()
        queues, asking = wiring.worker_queues(settings), wiring.asking_queues(settings)
    except BatchqError as exc:
        yield fail("workers", str(exc))
        return
    if dropped:
        kinds = ", ".join(f"{what} ({n})" for what, n in sorted(dropped.items(), key=lambda pair: -pair[1]))
        yield warn(
            "messages",
            f"workers dropped {sum(dropped.values())} messages that were none of batchq's: {kinds}",
            "see who else writes to its queues: the workers' logs tell when",
        )
    if not beats:
        yield warn("workers", "no live worker", "`batchq worker`, or jobs wait (`batchq run` brings its own)")
        return
    yield ok("workers", f"{len(beats)} alive, {sum(beat.slots for beat in beats)} slots")
    for_all = [beat for beat in beats if beat.project != RUN_EMULATOR]  # the others ask for their run alone
    for queue in queues:
        able = for_all if queue in asking else beats
        if not any(f"{settings.namespace}.{name}" == queue for beat in able for name in beat.queues):
            yield warn("queues", f"no live worker consumes {queue}", f"`batchq worker -Q {queue}`")
    for host, warning in dict.fromkeys((beat.host, warning) for beat in beats for warning in beat.warnings):
        yield warn("workers", f"one on {host} warned at its start: {warning}")
    yield from _projects(settings, for_all)
    yield from limits(beats)


def _projects(settings: Settings, beats: list[Beat]) -> Iterator[Finding]:
    by_queue: dict[str, set[str]] = {}
    for beat in beats:
        for queue in beat.queues:
            by_queue.setdefault(queue, set()).add(beat.project)
    for queue, projects in sorted(by_queue.items()):
        if len(projects) > 1 and queue != "control":
            named = ", ".join(sorted(project or "(none)" for project in projects))
            yield warn(
                "projects",
                f"workers of {settings.namespace}.{queue} use the quotas of several projects: {named}",
                "one project a queue: give them the same key, or set BATCHQ_PROJECT",
            )
