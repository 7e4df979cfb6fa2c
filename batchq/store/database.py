"""The connection that the parts of the store share: client, scripts, namespace, and the clock tests may set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from batchq.core.redis_url import RedisAddress, parse
from batchq.store.connection import Translated, connect
from batchq.store.keys import CollectorKeys, GlobalKeys, JobKeys, job_keys
from batchq.store.scripts import Scripts

if TYPE_CHECKING:
    from redis import Redis

Arg = str | bytes | int | float


class Database:
    """One server, one namespace. Safe for threads and greenlets; a forked child makes its own connections."""

    def __init__(
        self, url: str, namespace: str = "batchq", *, timeout_s: float = 10.0, letter_limit: int = 10_000
    ) -> None:
        self.address: RedisAddress = parse(url)
        self.namespace = namespace
        self.keys = GlobalKeys(namespace)
        self._translated = Translated(self.address)
        self.client: Redis = connect(self.address, timeout_s=timeout_s)
        self.scripts = Scripts(self.client)
        self.letter_limit = letter_limit  # dead letters of a job that may wait for their queue
        self.now_ms: int | None = None  # tests set the store's clock; None: the server's
        self.dark_ms = 0  # outage so far, as the last heartbeat of this process learnt it

    def job_keys(self, job_id: str) -> JobKeys:
        return job_keys(self.namespace, job_id)

    def collector_keys(self, name: str) -> CollectorKeys:
        return CollectorKeys(self.namespace, name)

    @property
    def now_arg(self) -> Arg:
        return "" if self.now_ms is None else self.now_ms

    def run(self, script: str, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        """Run one script. Raises StoreUnavailable and its kin, never redis-py's own errors."""
        with self._translated:
            return getattr(self.scripts, script)(keys=keys, args=args)

    def command(self, name: str, *args: Any) -> Any:
        """Run one plain command."""
        with self._translated:
            return self.client.execute_command(name, *args)

    def scan_hash(self, key: str) -> Iterator[tuple[bytes, bytes]]:
        """The fields of a hash, in slices."""
        with self._translated:
            yield from self.client.hscan_iter(key, count=500)

    def batch(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run plain commands in one round trip, without a transaction."""
        with self._translated, self.client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

    def server_ms(self) -> int:
        """The store's clock, Unix milliseconds."""
        if self.now_ms is not None:
            return self.now_ms
        with self._translated:
            seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        self.client.close()
