"""Connections to whoever is the master: redis-py's, mended where a failover would hold them up."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection

from batchq.core.redis_url import RedisAddress

ANSWER_S = 1.0  # that one of several Sentinels may take


class Connection(SentinelManagedConnection):
    """Asks who is the master before it connects anew. The stock one goes back to the server that it lost: where that
    one hangs and another rules since, each try of a command would wait for the hanging one."""

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self._sock:
            self.connect()  # type: ignore[no-untyped-call]
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


class Pool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Waits for a free connection; the stock one raises where there is none."""


def options(address: RedisAddress) -> dict[str, Any]:
    """How the Sentinels are asked. One that is away costs a moment, for the next one knows the same."""
    return {
        "password": address.sentinel_password,
        "socket_timeout": ANSWER_S,
        "socket_connect_timeout": ANSWER_S,
        "retry": Retry(NoBackoff(), 0),
    }
