"""Taking messages by the dozen: nothing stays behind, limits hold, and what is no message ends nobody."""

from __future__ import annotations

import json
import threading
from contextlib import suppress

import pytest
from fleet_kit import Fleet, eventually
from kombu import Consumer, Message
from test_fleet_walk import items

from batchq import Client
from batchq.dispatch import make_app
from batchq.embedded import EmbeddedServer
from batchq.settings import Settings
from batchq.store.database import Database


def quiet(database: Database) -> bool:
    """No message anywhere: neither queued nor taken and unacknowledged."""
    keys = ("batchq:unacked", "batchq:unacked_index", "batchq.work", "batchq.control")
    return not any(database.command("EXISTS", key) for key in keys)


@pytest.mark.parametrize(("pool", "slots"), [("gevent", 30), ("threads", 4), ("prefork", 2)])
def test_every_message_is_acknowledged(
    fleet: Fleet, client: Client, database: Database, pool: str, slots: int
) -> None:
    fleet.start(pool, slots)
    job = client.submit(items(400), operation="work")
    assert job.wait(60).succeeded == 400
    eventually(lambda: quiet(database))
    counters = [key for key in database.command("KEYS", "celery-taskset-meta-*") if not key.endswith(b".n")]
    assert all(database.command("TTL", key) > 0 for key in counters), "chord keys expire"


@pytest.mark.parametrize(("queue", "noted"), [("batchq.work", 0), ("batchq.control", 6)])
def test_messages_are_taken_as_the_prefetch_count_allows_and_put_back(
    server: EmbeddedServer, database: Database, queue: str, noted: int
) -> None:
    """Only of queues whose messages nobody would send again is anything noted in Redis."""
    app = make_app(Settings(redis_url=server.url), [queue])
    taken: list[Message] = []

    def count() -> int:
        return int(database.command("LLEN", queue))

    with app.connection_for_read() as connection:
        for number in range(20):
            app.send_task("any", args=[number], queue=queue, connection=connection)
        channel = connection.channel()
        consumer = Consumer(channel, [app.amqp.queues[queue]], on_message=taken.append, accept=["json"])
        consumer.qos(prefetch_count=6)
        consumer.consume()

        def until(number: int) -> None:
            while len(taken) < number:
                connection.drain_events(timeout=5)

        until(6)
        assert (len(taken), count()) == (6, 14)
        assert database.command("HLEN", "batchq:unacked") == noted
        taken[0].ack()
        taken[1].reject(requeue=True)
        until(8)
        assert count() == 20 - 1 - 6
        channel.close()
        assert count() == 19, "what was not acknowledged is there again"
        assert database.command("HLEN", "batchq:unacked") == 0
    assert all(json.loads(raw)["headers"]["id"] for raw in database.command("LRANGE", queue, 0, -1))
    database.command("DEL", queue)


def test_bytes_that_are_no_message_are_dropped_with_a_line_and_hurt_nobody(
    fleet: Fleet, client: Client, database: Database
) -> None:
    fleet.start("gevent", 10)
    eventually(lambda: len(client.fleet()) == 1)
    for junk in (b"{", b"42", b"{}", b"\xff\xfe", b"[" * 50_000, b'{"properties": 1}', b'"secret words"'):
        for queue in ("batchq.work", "batchq.control"):
            database.command("LPUSH", queue, junk)
    job = client.submit(items(20), operation="work")
    assert job.wait(60).succeeded == 20
    eventually(lambda: quiet(database))
    logs = fleet.logs()
    assert logs.count("no Celery message") == 14
    assert "secret words" not in logs


def test_a_wait_for_messages_ends_early_where_somebody_has_to_look_around(server: EmbeddedServer) -> None:
    app = make_app(Settings(redis_url=server.url), ["batchq.nobody"])
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "longest_wait_s": 0.05}
    ended = threading.Event()

    def wait() -> None:
        with (
            app.connection_for_read() as connection,
            connection.channel() as channel,
            app.amqp.TaskConsumer(channel, on_message=print),
            suppress(TimeoutError),
        ):
            connection.drain_events(timeout=3_600)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    assert ended.wait(20)
