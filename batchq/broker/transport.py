"""kombu's Redis transport, taking messages by the dozen and keeping those of items in memory until they are done.

Stock kombu pops one message a round trip, notes it as unacknowledged in a second one and takes that back in a
third; for an item that costs a millisecond that is most of the work. Here a pop that finds a message takes along
what else the prefetch count allows, and nothing is noted of it: what a killed worker held is sent again by the
sweeper, long before kombu would put a noted message back. Nothing changes on the wire: other consumers may share
the queues.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from queue import Empty
from typing import Any

from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import RedisError, ResponseError

from batchq.broker.drops import drops
from batchq.store import sentinels

log = logging.getLogger("batchq")

MOST = 64  # messages a pop takes along


class QoS(stock.QoS):
    """Unacknowledged messages, some of which are known to this process alone."""

    channel: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._held: set[str] = set()  # delivery tags

    def hold(self, tags: Iterable[str]) -> None:
        """These are about to be delivered, and not to be noted."""
        self._held.update(tags)

    def append(self, message: Any, delivery_tag: str) -> None:
        if delivery_tag in self._held:
            virtual.QoS.append(self, message, delivery_tag)
            return
        try:
            super().append(message, delivery_tag)
        except ResponseError as exc:
            # the server takes no writes now: to run what is out of its queue already is better than to lose it
            log.warning("the broker does not note a message as taken: %s", exc)
            self._held.add(delivery_tag)
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if delivery_tag in self._held:
            self._held.discard(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)
            return
        try:
            super().ack(delivery_tag)
        except AttributeError:
            if not self._is_cut_off():
                raise
        except (
            *self.channel.connection_errors,
            RedisError,
            ValueError,
        ) as exc:  # ValueError: its socket was closed meanwhile
            # It comes again, and the store refuses it; kombu would log two screens of traceback a message.
            log.debug("message %s is not acknowledged: %s", delivery_tag, exc)
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if delivery_tag not in self._held:
            super().reject(delivery_tag, requeue)
            return
        if requeue:
            self._put_back([self.get(delivery_tag)], leftmost=True)
        self.ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        delivered: Any = self._delivered
        self._put_back([delivered.pop(tag) for tag in list(delivered) if tag in self._held])
        self._held.clear()
        super().restore_unacked(client)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """When a channel closes. A channel whose connection broke cannot put its messages back: that is no reason
        for the worker to die, for the store sends their items again."""
        try:
            super().restore_unacked_once(stderr)
        except RedisError as exc:
            log.debug("messages are not put back: %s", exc)
        except AttributeError:
            if not self._is_cut_off():
                raise

    def _put_back(self, messages: Sequence[Any], *, leftmost: bool = False) -> None:
        if not messages:
            return
        with self.channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
            for message in messages:
                info = message.delivery_info
                self.channel._do_restore_message(
                    message._raw, info["exchange"], info["routing_key"], pipe, leftmost
                )
            pipe.execute()

    def _is_cut_off(self) -> bool:
        """Whether the channel has lost its connection for good; kombu's methods then stumble over None."""
        connection = getattr(self.channel, "connection", None)
        return connection is None or getattr(connection, "client", None) is None


class Message(stock.virtual.Message):  # type: ignore[misc, name-defined]
    """A message; one whose parts have wrong types is empty, for the worker to drop. Stock kombu ends the worker."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **options: Any) -> None:
        try:
            super().__init__(payload, channel, **options)
        except Exception:
            super().__init__({"properties": payload["properties"]}, channel, **options)


class Bulk:
    """A mixin for kombu's Redis channels. Queues in `one_by_one` are left as they are: their messages are not all
    made up for by the sweeper."""

    QoS: Any = QoS
    Message: Any = Message
    one_by_one: Sequence[str] = ()

    def _create_client(self: Any, asynchronous: bool = False) -> Any:
        """One client a pool. Stock kombu makes a new one for each command, which costs more than the command."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        known = self.__dict__.get("_plain_client")
        if known is None or known.connection_pool is not self.pool:
            known = self.__dict__["_plain_client"] = super()._create_client()  # type: ignore[misc]
        return known

    def queue_delete(self: Any, *args: Any, **options: Any) -> Any:
        """A channel that closes lets the queue of its remote control be where the server takes no writes."""
        try:
            return super().queue_delete(*args, **options)  # type: ignore[misc]
        except ResponseError as exc:
            if not self._closing:
                raise
            log.debug("a queue is not deleted: %s", exc)

    def _brpop_read(self: Any, **options: Any) -> bool:
        """The stock method, which delivers what BRPOP brought, and then what else is there."""
        try:
            try:
                reply = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            except ResponseError:
                if not self._closing:
                    raise
                reply = None
            if not reply:
                raise Empty
            key, first = reply
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        self._deliver_all([first, *self._more(key, queue)], queue)
        return True

    def _more(self: Any, key: bytes, queue: str) -> list[bytes]:
        room = self.qos.can_consume_max_estimate()
        most = min(MOST, MOST if room is None else room) - 1  # None: no prefetch count is set
        if most < 1 or queue in self.one_by_one:
            return []
        with self.conn_or_acquire() as client:
            found: list[bytes] | None = client.rpop(key, most)
        return found or []

    def _deliver_all(self: Any, raw: Sequence[bytes], queue: str) -> None:
        read = [one for one in (_read(text, queue) for text in raw) if one is not None]
        if queue not in self.one_by_one:
            self.qos.hold(message["properties"]["delivery_tag"] for message in read)
        for message in read:
            self.connection._deliver(message, queue)


def _read(raw: bytes, queue: str) -> dict[str, Any] | None:
    """None, and a line in the log, for what is no message: stock kombu lets it end the worker."""
    try:
        message: dict[str, Any] = json.loads(raw)
        properties = message["properties"]
        _ = properties["delivery_info"]["exchange"], properties["delivery_info"]["routing_key"]
        if not isinstance(properties["delivery_tag"], str):
            raise TypeError
        return message
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        log.error(
            "dropped a message in queue %s: no Celery message (%s, %d bytes)",
            ascii(queue),
            type(exc).__name__,
            len(raw),
        )
        drops.count("no Celery message")
        return None


class Channel(Bulk, stock.Channel):
    from_transport_options = (*stock.Channel.from_transport_options, "one_by_one")


class SentinelChannel(Bulk, stock.SentinelChannel):
    from_transport_options = (*stock.SentinelChannel.from_transport_options, "one_by_one")
    connection_class = sentinels.Connection


class Attentive:
    """A mixin for kombu's Redis transports. With the option `longest_wait_s` a wait for messages that has an end
    ends after that long, whoever asks for longer: Celery's blocking loop sees only then that it is told to stop."""

    client: Any

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> Any:
        longest_s = self.client.transport_options.get("longest_wait_s")
        if timeout is not None and longest_s is not None:
            timeout = min(timeout, longest_s)
        return super().drain_events(connection, timeout=timeout, **options)  # type: ignore[misc]


class Transport(Attentive, stock.Transport):
    Channel: Any = Channel


class SentinelTransport(Attentive, stock.SentinelTransport):
    Channel: Any = SentinelChannel
