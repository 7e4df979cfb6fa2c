"""The part of a worker that takes messages: it drops what is no message of ours, and gives orphans out again.

Stock Celery lets a body of a wrong shape end the worker; the message goes back to the queue and ends the next one.
And on gevent and threads it gives out nobody's unacknowledged messages while it is idle.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from billiard.common import restart_state
from celery import bootsteps
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer, Tasks
from redis.exceptions import ResponseError

from batchq.broker.drops import drops
from batchq.core.redis_url import parse
from batchq.flow.patience import say
from batchq.store.connection import translate
from workers.messages import fault_of, shown_name
from workers.place import place

log = logging.getLogger("batchq")
LONGEST_PAUSE_S = 3  # between two looks for a broker that is away, or refuses
RESTART_S = 1  # pause where the connection is lost time after time
RESTORE_S = 1.0  # between two looks at what dead workers left unacknowledged


class _Restarts(restart_state):
    """Of the consumer, after each lost connection. Where there are many, stock Celery logs a traceback and waits."""

    def step(self, now: float | None = None) -> None:
        try:
            super().step(now)
        except self.RestartFreqExceeded:
            time.sleep(RESTART_S)


class GuardedConsumer(Consumer):
    """Celery's consumer; what is wrong with a message costs that message and one line in the log.

    Without gossip and mingle: workers know of each other by the store, and both cost traffic, a second at the start
    and a traceback at each outage.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        alone = {"without_gossip": True, "without_mingle": True}
        options["worker_options"] = {**(options.get("worker_options") or {}), **alone}
        super().__init__(*args, **options)
        self._restart_state = _Restarts(maxR=5, maxT=1)
        # each outage would bring Celery's advice about a setting of its next major release
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)

    @property
    def broken(self) -> tuple[type[Exception], ...]:
        """What a lost connection raises: the worker reconnects then."""
        connection: Any = vars(self)
        return (*connection["connection_errors"], *connection["channel_errors"])

    def ensure_connected(self, conn: Any) -> Any:
        """Stock Celery looks for a lost broker less and less often, up to each 30 s."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_step=1, interval_max=LONGEST_PAUSE_S
        )
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """A server that takes no writes is reached all the same: stock Celery would come back at once, all the time."""
        if not isinstance(exc, ResponseError):
            super().on_connection_error_after_connected(exc)
            return
        _wait_for_writes(exc)
        with _silenced():
            super().on_connection_error_after_connected(exc)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        if isinstance(exc, ResponseError):
            _wait_for_writes(exc)
        else:
            super().on_connection_error_before_connected(exc)

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **options)
        broken = self.broken

        def guarded(message: Any) -> None:
            try:
                fault = fault_of(message.headers, message.payload)
                if fault is None:
                    handle(message)
                    return
            except broken:
                raise
            except Exception as exc:
                fault = type(exc).__name__
            self._drop(message, fault)

        return guarded

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._drop(message, type(exc).__name__)

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002
        self._drop(message, "no task header")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002
        self._drop(message, type(exc).__name__)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Its sender is told, as by the stock consumer; but that one logs the whole message."""
        self._drop(message, "unknown task", acknowledge=False)
        with _silenced():
            super().on_unknown_task(body, message, exc)

    def _drop(self, message: Any, what: str, *, acknowledge: bool = True) -> None:
        queue = (message.delivery_info or {}).get("routing_key")
        log.error(
            "dropped a message in queue %s: %s (task %s, %d bytes)",
            ascii(queue),
            what,
            shown_name(message.headers),
            len(message.body or ""),
        )
        drops.count(what)
        if acknowledge:
            message.reject_log_error(log, self.broken)


def _wait_for_writes(refused: ResponseError) -> None:
    say("the broker", translate(refused, parse(place.settings.broker_url or place.settings.store_url)))
    time.sleep(LONGEST_PAUSE_S)


@contextmanager
def _silenced() -> Iterator[None]:
    """Around a method of the stock consumer, after we have said it better."""
    stock = logging.getLogger("celery.worker.consumer.consumer")
    disabled, stock.disabled = stock.disabled, True
    try:
        yield
    finally:
        stock.disabled = disabled


class Orphans(bootsteps.StartStopStep):
    """Gives out again what dead workers took and never acknowledged, once its visibility timeout has passed."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        self._timer = consumer.timer.call_repeatedly(RESTORE_S, self._restore, (consumer,))

    def stop(self, consumer: Any) -> None:  # noqa: ARG002
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _restore(self, consumer: Any) -> None:
        try:
            consumer.task_consumer.channel.qos.restore_visible(interval=1)
        except Exception as exc:  # the broker is away: the consumer's own loop says so and reconnects
            log.debug("orphans cannot be looked for: %s", type(exc).__name__)
