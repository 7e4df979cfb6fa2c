"""Connections of our Celery app: stock kombu's, on our transport where the broker is a Redis."""

from __future__ import annotations

from typing import Any

from celery.app import amqp as stock
from kombu import Connection as StockConnection
from kombu.transport import redis

from batchq.broker import transport

OURS: dict[Any, Any] = {
    redis.Transport: transport.Transport,
    redis.SentinelTransport: transport.SentinelTransport,
}


class Connection(StockConnection):
    def get_transport_cls(self) -> Any:
        found: Any = super().get_transport_cls()
        return OURS.get(found, found)


class AMQP(stock.AMQP):
    Connection = Connection
