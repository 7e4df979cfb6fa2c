"""The one file that knows Celery: its app, its settings, its wire format.

`make_app` gives workers and clients the same configuration. A wave is a Celery chord in Celery's own format,
built directly and published as one batch: unmodified workers complete it, at a tenth of the publishing cost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.app.backends import by_url
from kombu import Exchange, Queue
from kombu.exceptions import KombuError, OperationalError
from kombu.pools import ProducerPool
from redis.exceptions import RedisError

from batchq.core.forks import whole_before_fork
from batchq.core.redis_url import RedisAddress, parse
from batchq.errors import StoreUnavailable
from batchq.settings import Settings
from batchq.store import sentinels

SUBMIT = "batchq.submit"
CANCEL = "batchq.cancel"
DISPATCH = "batchq.dispatch"
PROCESS_ITEM = "batchq.process_item"
COMPLETE_WAVE = "batchq.complete_wave"
REDRIVE = "batchq.redrive"

POOL = 1_000  # connections at most; opened as they are needed. Too few and acknowledgements are lost
PUBLISHERS = 10  # that publish at once; others wait
RESULTS_KEPT_S = 3_600  # chord counters and the results of batchq.submit
PREFETCH = 2  # times the slots; with 1 gevent workers stall in waves


class BatchqCelery(Celery):
    """A Celery app whose broker and backend are batchq's, whatever `CELERY_*` variables say."""

    amqp_cls = "batchq.broker.amqp:AMQP"

    def __init__(self, *args: Any, broker: str, backend: str, **options: Any) -> None:
        self._own_broker = broker
        self._producers: dict[int, ProducerPool] = {}  # by process
        # goes before CELERY_RESULT_BACKEND; the broker's variables are passed over below
        self.backend_cls = backend
        every: Any = {**options, "broker": broker, "backend": backend}
        super().__init__(*args, **every)

    @property
    def producer_pool(self) -> ProducerPool:
        """A pool of our own: kombu's belong to all apps of a process, and Celery sets their limit. A forked child
        gets its own, for the fork may have copied it while it was locked."""
        pools, pid = self._producers, os.getpid()
        if pid not in pools:
            connections = self.connection_for_write().Pool(PUBLISHERS)
            pools.setdefault(pid, ProducerPool(connections, limit=PUBLISHERS))
        return pools[pid]

    def close_producers(self) -> None:
        """Close the connections that messages go out by; a later message opens new ones."""
        pool = self._producers.pop(os.getpid(), None)
        if pool is not None:
            parts: Any = pool
            parts.force_close_all()
            parts.connections.force_close_all()

    def connection(self, hostname: str | None = None, *args: Any, **options: Any) -> Any:
        """What Celery's banner names."""
        return super().connection(hostname or self._own_broker, *args, **options)

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        return super().connection_for_read(url or self._own_broker, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        return super().connection_for_write(url or self._own_broker, **options)

    def _get_backend(self) -> Any:
        from batchq.broker import backend

        found: Any = by_url(self.backend_cls, self.loader)
        url: str = found[1]
        kind: Any = backend.SentinelBackend if url.startswith("sentinel:") else backend.Backend
        kind.wave_task = COMPLETE_WAVE
        return kind(app=self, url=url)


def make_app(settings: Settings, queues: Sequence[str] = (), *, current: bool = False) -> BatchqCelery:
    """The Celery app. `queues` are the Celery queues a worker consumes; `current` only in a worker's process."""
    broker = parse(settings.broker_url or settings.store_url)
    backend = parse(settings.result_backend or settings.store_url)
    app = BatchqCelery(
        "batchq",
        broker=broker.broker_url(),
        backend=backend.backend_url(),
        set_as_current=current,
        # Celery's fixup for Django would bind a client to the project that it is used in
        fixups=None if current else (),
        config_source=_configuration(settings, queues, broker, backend),
    )
    app.loader_cls = "celery.loaders.app:AppLoader"
    return app


def _configuration(
    settings: Settings, queues: Sequence[str], broker: RedisAddress, backend: RedisAddress
) -> dict[str, Any]:
    prefix = settings.namespace
    transport: dict[str, Any] = {
        "visibility_timeout": settings.visibility_timeout_s,
        "max_connections": POOL,
        "socket_timeout": settings.socket_timeout_s,
        "socket_connect_timeout": 5,
        "health_check_interval": 10,  # a server that hangs is noticed one second later
        # a foreign app's restore must not touch our messages, nor ours its own
        "unacked_key": f"{prefix}:unacked",
        "unacked_index_key": f"{prefix}:unacked_index",
        "unacked_mutex_key": f"{prefix}:unacked_mutex",
        "one_by_one": [settings.control_queue, settings.dead_letter_queue],
    }
    results: dict[str, Any] = {}
    for address, options in ((broker, transport), (backend, results)):
        if address.master:
            options |= {"master_name": address.master, "sentinel_kwargs": sentinels.options(address)}
    if not broker.socket:  # redis-py refuses it for unix sockets
        transport["socket_keepalive"] = True
    configuration: dict[str, Any] = {
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": False,
        "task_track_started": False,
        "task_store_errors_even_if_ignored": False,
        "task_default_queue": settings.control_queue,
        "task_create_missing_queues": True,
        "worker_prefetch_multiplier": PREFETCH,
        "worker_enable_remote_control": settings.remote_control,
        # Celery's own channels are everybody's on the server: a `shutdown` of another app's would end our workers,
        # and its Flower list them. No queue can be called so, for the names of queues have no colon
        "control_exchange": f"{prefix}:celery",
        "event_exchange": f"{prefix}:celeryev",
        "event_queue_prefix": f"{prefix}:celeryev",
        "worker_send_task_events": True,  # the tasks decide: those of whole jobs send them, items do not
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_transport_options": transport,
        "result_backend_transport_options": results,
        "result_backend_thread_safe": True,
        "result_backend_always_retry": True,
        "result_expires": RESULTS_KEPT_S,
        "result_chord_expires": RESULTS_KEPT_S,
        "redis_max_connections": POOL,
        "redis_socket_timeout": settings.socket_timeout_s,
        "redis_socket_connect_timeout": 5.0,
        "redis_retry_on_timeout": True,
        "timezone": "UTC",
    }
    if not backend.socket:
        configuration["redis_socket_keepalive"] = True
    if queues:
        configuration["task_queues"] = [direct_queue(name) for name in queues]
    return configuration


def direct_queue(name: str) -> Queue:
    """A queue of that name and nothing else: publishing goes to it directly."""
    return Queue(name, exchange=Exchange(name, type="direct"), routing_key=name)


def item_argsrepr(job_id: str, place: int | Sequence[int]) -> str:
    """What Flower shows of an item's message; of a pack's, its first and last position."""
    shown = str(place) if isinstance(place, int) else f"{place[0]}…{place[-1]}"
    return f"({job_id!r}, {shown})"


@contextmanager
def _taken(what: str) -> Iterator[None]:
    """Around the publishing of something: the broker's errors become ours, and a fork waits for its end."""
    try:
        with whole_before_fork:
            yield
    except (RedisError, OperationalError, KombuError, OSError) as exc:
        raise StoreUnavailable(f"the broker did not take {what}: {exc}") from exc


class Dispatcher:
    """Sends the messages of the walk. References only; any message may be lost, late or doubled without harm."""

    def __init__(self, app: BatchqCelery, settings: Settings) -> None:
        self._app, self._settings = app, settings

    def close(self) -> None:
        """Close the connections to the broker; a later message opens new ones."""
        self._app.close_producers()

    def send_wave(
        self, job_id: str, lane: int, queue: str, positions: Sequence[int], ticket: int, pack: int = 1
    ) -> None:
        """One chord: a header task a position, or for each `pack` of them; complete_wave as its body. Raises
        StoreUnavailable.

        A failed flush may have been delivered in part; the store's tickets and leases make that harmless.
        """
        group = str(uuid4())
        body = self._app.signature(
            COMPLETE_WAVE,
            args=(job_id, ticket, len(positions)),
            immutable=True,
            queue=self._settings.control_queue,
            task_id=f"{group}-body",
        )
        places: Sequence[int | Sequence[int]] = positions
        if pack > 1:
            places = [positions[at : at + pack] for at in range(0, len(positions), pack)]
        body["chord_size"] = len(places)
        header = [
            self._header_task(job_id, lane, place, ticket, group, index, body)
            for index, place in enumerate(places)
        ]
        with _taken(f"a wave of job {job_id}"):
            # the size first: a publisher that dies half-way must not leave a chord that nobody can complete
            self._app.backend.set_chord_size(group, len(places))
            self._publish(queue, header)

    def send_dispatch(self, job_id: str) -> None:
        """Have a worker advance the job. Raises StoreUnavailable."""
        with _taken(f"a message for job {job_id}"):
            self._app.send_task(
                DISPATCH, args=(job_id,), queue=self._settings.control_queue, ignore_result=True, retry=False
            )

    def send_letters(self, job_id: str, indexes: Sequence[int]) -> None:
        """One message a dead letter, the newest `dead_letter_queue_limit` of all jobs. Raises StoreUnavailable.

        After an error some of them may be in the queue.
        """
        queue, limit = self._settings.dead_letter_queue, self._settings.dead_letter_queue_limit
        letters = [
            self._app.amqp.as_task_v2(
                str(uuid4()),
                REDRIVE,
                args=(job_id, index),
                ignore_result=True,
                argsrepr=f"({job_id!r}, {index})",
                kwargsrepr="{}",
                origin="batchq",
            )
            for index in indexes
        ]
        with _taken(f"dead letters of job {job_id}"):
            self._publish(queue, letters)
            with self._app.producer_pool.acquire(block=True) as producer:
                channel: Any = producer.channel
                with channel.conn_or_acquire() as redis:
                    redis.ltrim(queue, 0, limit - 1)  # new ones come in at the head

    def _header_task(
        self,
        job_id: str,
        lane: int,
        place: int | Sequence[int],
        ticket: int,
        group: str,
        index: int,
        body: Any,
    ) -> Any:
        return self._app.amqp.as_task_v2(
            f"{group}-{index}",
            PROCESS_ITEM,
            args=(job_id, lane, place, ticket),
            group_id=group,
            group_index=index,
            root_id=group,
            chord=body,
            ignore_result=True,
            argsrepr=item_argsrepr(job_id, place),
            kwargsrepr="{}",
            origin="batchq",
        )

    def _publish(self, queue: str, messages: Sequence[Any]) -> None:
        producer: Any
        with self._app.producer_pool.acquire(block=True) as producer, producer.batch():
            for message in messages:
                producer.publish(
                    message.body,
                    exchange="",
                    routing_key=queue,
                    serializer="json",
                    headers=message.headers,
                    delivery_mode=2,
                    retry=False,
                    **message.properties,
                )
