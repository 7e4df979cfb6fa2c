"""One way to reach the store, and one place where Redis's exceptions become ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    DataError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel

from batchq.core.redis_url import RedisAddress
from batchq.errors import BatchqError, ConfigurationError, NotEnoughMemory, StoreUnavailable
from batchq.store import sentinels

MAX_CONNECTIONS = 64  # claims and settles are gathered, so a process of 400 slots needs few
RETRIES = 1  # so a server that hangs is told of after two timeouts


def connect(
    address: RedisAddress, *, timeout_s: float = 10.0, max_connections: int = MAX_CONNECTIONS
) -> redis.Redis:
    """A client with a bounded pool that waits instead of raising. Opens nothing before its first command."""
    # no health checks: redis-py makes one of each new connection too, and tries it again on its own, so that a server
    # that hangs would be told of after four timeouts; a connection that broke unnoticed costs one either way
    common: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, 5.0),
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), RETRIES),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError, BusyLoadingError],
        "client_name": "batchq",
    }
    pool_options: dict[str, Any] = {"max_connections": max_connections, "timeout": timeout_s}
    if address.sentinels:
        pool: redis.BlockingConnectionPool = sentinels.Pool(  # type: ignore[no-untyped-call]
            address.master or "",
            Sentinel(list(address.sentinels), sentinel_kwargs=sentinels.options(address)),
            **pool_options,
            **common,
            connection_class=sentinels.Connection,
            socket_keepalive=True,
        )
        return redis.Redis(connection_pool=pool)
    if address.socket:
        pool = redis.BlockingConnectionPool(
            connection_class=redis.UnixDomainSocketConnection, path=address.socket, **pool_options, **common
        )
    else:
        common |= {"host": address.host, "port": address.port, "socket_keepalive": True}
        if address.tls:
            common |= dict(address.tls_options)
            pool = redis.BlockingConnectionPool(
                connection_class=redis.SSLConnection, **pool_options, **common
            )
        else:
            pool = redis.BlockingConnectionPool(**pool_options, **common)
    return redis.Redis(connection_pool=pool)


@dataclass(frozen=True, slots=True)
class Translated:
    """A `with` block in which what redis-py raises turns into our errors, whose messages name the server and the
    remedy. One serves for all calls."""

    address: RedisAddress

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, exc: BaseException | None, _trace: object) -> None:
        if isinstance(exc, RedisError):
            raise translate(exc, self.address) from exc
        if isinstance(exc, OSError):
            raise StoreUnavailable(f"Redis at {self.address.shown} does not answer: {exc}") from exc


def translate(exc: RedisError, address: RedisAddress) -> BatchqError:
    where = f"Redis at {address.shown}"
    text = str(exc)
    if isinstance(exc, AuthenticationError) or "WRONGPASS" in text or "NOAUTH" in text:
        if address.password is None:
            return ConfigurationError(
                f"{where} wants a password: put it into BATCHQ_REDIS_URL, as in redis://:PASSWORD@HOST:6379/0, or leave "
                "BATCHQ_REDIS_URL unset where you mean your own embedded server"
            )
        return ConfigurationError(f"{where} refuses the password: correct BATCHQ_REDIS_URL ({text})")
    if isinstance(exc, NoPermissionError):
        return ConfigurationError(f"{where} denies a command to this user: {text}")
    if isinstance(exc, OutOfMemoryError) or text.startswith("OOM"):
        return NotEnoughMemory(
            f"{where} has no memory left: raise its maxmemory or delete finished jobs ({text})"
        )
    if isinstance(exc, BusyLoadingError):
        return StoreUnavailable(f"{where} is still loading its data: try again in a moment")
    if isinstance(exc, ReadOnlyError):
        return StoreUnavailable(f"{where} is a read-only replica: name the master, or use sentinel://")
    if "MISCONF" in text:
        said = re.sub(r"\s*script: .*", "", text, flags=re.DOTALL)  # of ours it is no news
        return StoreUnavailable(f"{where} refuses writes because it cannot persist (disk full?): {said}")
    if "invalid DB index" in text or "DB index is out of range" in text:
        return ConfigurationError(f"{where} has no such database: {text}")
    if isinstance(exc, RedisTimeoutError):
        return StoreUnavailable(f"{where} did not answer in time: {text}")
    if isinstance(exc, RedisConnectionError):
        return StoreUnavailable(f"{where} cannot be reached: {text}")
    if isinstance(exc, ResponseError | DataError):
        return BatchqError(f"{where} refused a command: {text}")
    return StoreUnavailable(f"{where}: {text}")
