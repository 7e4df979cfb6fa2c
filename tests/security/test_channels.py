"""What goes over the wire to a server that others may reach, and who may give workers orders there."""

from __future__ import annotations

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client
from batchq.cli import checks
from batchq.dispatch import make_app
from batchq.settings import Settings


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        ({"redis_url": "redis://:PW@redis.internal/0"}, ["redis://redis.internal:6379/0"]),
        ({"redis_url": "redis://127.0.0.1/0"}, []),
        ({"redis_url": "redis+socket:///run/redis.sock"}, []),
        ({"redis_url": "rediss://redis.internal/0"}, []),
        (
            {
                "redis_url": "rediss://redis.internal/0",
                "broker_url": "redis://:PW@broker.internal/0",
                "result_backend": "redis://:PW@broker.internal/0",
            },
            ["redis://broker.internal:6379/0"],
        ),
    ],
)
def test_doctor_warns_of_each_server_that_is_reached_in_the_clear(
    urls: dict[str, str], told: list[str]
) -> None:
    found = [finding.text.split()[0] for finding in checks.encryption(Settings(**urls))]
    assert found == told


def test_without_remote_control_nobody_who_can_publish_stops_a_worker(fleet: Fleet, client: Client) -> None:
    fleet.extra["BATCHQ_REMOTE_CONTROL"] = "0"
    worker = fleet.start("gevent", 5)
    eventually(lambda: client.fleet())
    with make_app(Settings(redis_url=fleet.url)) as app:
        assert app.control.ping(timeout=1) == []
        app.control.shutdown()
    job = client.submit([{"id": "a", "input": {"n": 1}}], operation="work")
    assert job.wait(30).succeeded == 1
    assert worker.poll() is None
