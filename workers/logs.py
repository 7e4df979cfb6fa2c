"""What a worker's log shows: no secrets, no chatter about each item, and an outage of Redis on a line."""

from __future__ import annotations

import logging
import os
import sys

from kombu.exceptions import OperationalError
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from batchq.core.discreet import Discreet
from batchq.core.redis_url import parse
from batchq.errors import StoreUnavailable
from batchq.flow import item_log
from batchq.settings import Settings
from workers.place import place

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
SHORTEST = 6  # a shorter secret would mask half of every line
# Celery's two lines an item cost more than the item, and at DEBUG its pool quotes messages; httpx2 has one a call
CHATTER = ("celery.worker.strategy", "celery.app.trace", "celery.pool", "httpx2")
OUTAGES = (
    *(RedisConnectionError, RedisTimeoutError, BusyLoadingError, OutOfMemoryError, ReadOnlyError),
    *(OperationalError, StoreUnavailable),
)


class Brief(logging.Filter):
    """An outage needs no traceback: each message names what failed, and a hundred greenlets meet it at once."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and _is_outage(record.exc_info[1]):
            record.exc_info = record.exc_text = None
        return True


def _is_outage(exc: BaseException | None) -> bool:
    return isinstance(exc, OUTAGES) or (isinstance(exc, ResponseError) and "MISCONF" in str(exc))


def tidy(logger: logging.Logger, **_: object) -> None:
    """The waves' own line stays."""
    discreet, brief = Discreet(secrets_of(place.settings)), Brief()
    for handler in logger.handlers:
        handler.addFilter(brief)
        handler.addFilter(discreet)
    for name in CHATTER:
        logging.getLogger(name).setLevel(logging.WARNING)
    if place.settings.log_items:  # whatever Celery's level, which is WARNING by default
        logging.getLogger(item_log.LOGGER).setLevel(logging.INFO)
    if (
        "gevent.hub" in sys.modules
    ):  # it prints what ends a greenlet, such as Celery's that listens for commands
        hub = sys.modules["gevent.hub"].Hub
        hub.NOT_ERROR = (*hub.NOT_ERROR, *OUTAGES)


def secrets_of(settings: Settings) -> frozenset[str]:
    """What no log may show: the provider's keys and the passwords of the servers."""
    urls = [settings.redis_url, settings.broker_url, settings.result_backend]
    servers = [parse(url) for url in urls if url and url != "embedded"]
    found = [os.environ.get(name, "").strip() for name in KEYS]
    for server in servers:
        found += [server.password or "", server.sentinel_password or ""]
    return frozenset(secret for secret in found if len(secret) >= SHORTEST)
