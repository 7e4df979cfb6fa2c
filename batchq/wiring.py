"""The one place that builds store, operations, provider and dispatcher from the settings."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from batchq import embedded
from batchq.core.pricing import TABLE, Price, Prices
from batchq.dispatch import Dispatcher, make_app
from batchq.errors import ConfigurationError
from batchq.flow.walk import Walk
from batchq.operations import registry
from batchq.operations.declared import under
from batchq.providers.base import Provider
from batchq.settings import Settings
from batchq.store.collectors import CollectorStore
from batchq.store.database import Database
from batchq.store.events import EventStore
from batchq.store.fleet import FleetStore
from batchq.store.inputs import InputStore
from batchq.store.items import ItemStore
from batchq.store.jobs import JobStore
from batchq.store.outbox import Outbox
from batchq.store.outcomes import OutcomeStore
from batchq.store.publications import PublicationStore
from batchq.store.quotas import QuotaStore
from batchq.store.submissions import SubmissionStore
from batchq.store.upkeep import Upkeep
from batchq.store.uploads import UploadStore

FOR_EVER = 0


@dataclass(frozen=True, slots=True)
class Place:
    """The settings with the server's address in them, and whether it is the embedded one."""

    settings: Settings
    embedded: bool

    @property
    def retention_ms(self) -> int:
        """How long jobs are kept after their end; 0: for ever."""
        return FOR_EVER if self.embedded else int(self.settings.retention_s * 1000)


def locate(settings: Settings, *, start: bool) -> Place:
    """Find the job store: the configured server, else this user's embedded one.

    `start` starts the embedded server when it does not run (commands and make do; clients and workers do not).
    Raises ConfigurationError, ServerError.
    """
    if settings.redis_url not in (None, "embedded"):
        return Place(settings, embedded=False)
    if start or settings.redis_url == "embedded":
        server: embedded.EmbeddedServer | None = embedded.start()
    else:
        server = embedded.running()
    if server is None:
        raise ConfigurationError(
            "BATCHQ_REDIS_URL is not set and no embedded server of yours is running: set it to your server "
            "(redis://HOST:6379/0), or run `batchq server start`"
        )
    return Place(settings.model_copy(update={"redis_url": server.url}), embedded=True)


def database(settings: Settings) -> Database:
    return Database(
        settings.store_url,
        settings.namespace,
        timeout_s=settings.socket_timeout_s,
        letter_limit=settings.dead_letter_queue_limit,
    )


def load_operations(settings: Settings) -> Settings:
    """Import the user's modules; the settings in force, with what the operations say of themselves.

    Doing it again changes nothing. Raises ConfigurationError.
    """
    registry.load_installed()
    registry.load(settings.include)
    return under(settings, registry.defaults())


def worker_queues(settings: Settings) -> list[str]:
    """The Celery queues a worker consumes by default: all but the dead letters'."""
    settings = load_operations(settings)
    queues = [settings.control_queue, *(settings.queue_of(name) for name in registry.names())]
    return list(dict.fromkeys(queues))


def asking_queues(settings: Settings) -> set[str]:
    """The Celery queues with operations that ask Gemini."""
    settings = load_operations(settings)
    return {settings.queue_of(name) for name in registry.names() if registry.get(name).needs_provider}


@cache
def provider() -> Provider:
    """This process's Gemini, from the environment. Raises ConfigurationError when it says nothing."""
    from batchq.providers.gemini import GeminiConfig, GeminiProvider

    return GeminiProvider(GeminiConfig.from_env(os.environ))


def warm_provider() -> None:
    """Have this process's provider ready for its first call, if it has one."""
    with contextlib.suppress(ConfigurationError):
        provider().warm()


def has_provider(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process could ask Gemini."""
    from batchq.providers.gemini import GeminiConfig

    try:
        GeminiConfig.from_env(environ)
    except ConfigurationError:
        return False
    return True


def own_project(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Whose quota calls of this process count against, by its settings and environment; "": it could make none."""
    from batchq.providers.gemini import GeminiConfig

    if settings.project:
        return settings.project
    try:
        return GeminiConfig.from_env(environ).project
    except ConfigurationError:
        return ""


def preflight() -> Callable[[str], None] | None:
    """Asks whether key and model are good, before anything is stored; None where this process has no key."""
    if not has_provider():
        return None

    def ask(model: str) -> None:
        provider().preflight([model])

    return ask


def new_incarnation() -> str:
    """One life of a process: host, pid, start nonce."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def prices(settings: Settings) -> Prices:
    """The built-in prices, and over them those of the settings."""
    own = {
        model: Price(
            one.input,
            one.output,
            one.long_from,
            one.input if one.long_input is None else one.long_input,
            one.output if one.long_output is None else one.long_output,
            one.cached_input,
            one.long_cached_input,
            one.image_output,
            one.audio_input,
        )
        for model, one in settings.prices.items()
    }
    return {**TABLE, **own}


def build_walk(settings: Settings, *, slots: int, project: str = "", incarnation: str | None = None) -> Walk:
    """Everything the steps of the walk need, for one process of `slots` items at once. Raises ConfigurationError."""
    settings = load_operations(settings)
    store = database(settings)
    inputs = InputStore(store)
    registry.use(provider)
    return Walk(
        settings=settings,
        jobs=JobStore(store),
        submissions=SubmissionStore(store),
        items=ItemStore(store),
        inputs=inputs,
        outcomes=OutcomeStore(store, inputs),
        fleet=FleetStore(store),
        quotas=QuotaStore(store),
        outbox=Outbox(store),
        events=EventStore(store),
        publications=PublicationStore(store),
        collectors=CollectorStore(store),
        upkeep=Upkeep(store),
        uploads=UploadStore(store),
        dispatcher=Dispatcher(make_app(settings), settings),
        operation=registry.get,
        provider=provider,
        prices=prices(settings),
        warm=warm_provider,
        incarnation=incarnation or new_incarnation(),
        project=project,
        slots=slots,
    )
