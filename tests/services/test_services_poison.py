"""Messages that are none of ours: each costs one line in the log, and no worker."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fleet_kit import Fleet, eventually
from test_services_messages import SECRET, items

from batchq import Client
from batchq.store.database import Database

HEADERS: dict[str, Any] = {"lang": "py", "task": "batchq.process_item", "id": "message-1", "retries": 0}
GOOD = [["job-1", 0, 0, 1], {}, None]


def envelope(body: Any = GOOD, headers: Any = HEADERS, **properties: Any) -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    return json.dumps(
        {
            "body": base64.b64encode(text.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "batchq.control"},
                "delivery_mode": 2,
                "delivery_tag": "tag-1",
                "priority": 0,
                **properties,
            },
        }
    ).encode()


def named(task: object, **headers: Any) -> dict[str, Any]:
    return {**HEADERS, "task": task, **headers}


def replaced(**parts: Any) -> bytes:
    return json.dumps({**json.loads(envelope()), **parts}).encode()


POISON: dict[str, bytes] = {
    "an empty object": envelope({}),
    "a number": envelope(42),
    "null": envelope(None),
    "a text": envelope(json.dumps(SECRET)),
    "no JSON": envelope("{" + SECRET),
    "nested too deep": envelope("[" * 20_000 + "]" * 20_000),
    "too short": envelope([[], {}]),
    "args that are an object": envelope([{"a": 1}, {}, None]),
    "kwargs that are a list": envelope([[], [], None]),
    "an embed that is a number": envelope([*GOOD[:2], 7]),
    "a chord that is a number": envelope([*GOOD[:2], {"chord": 7}]),
    "missing arguments": envelope([["job-1"], {}, None]),
    "too many arguments": envelope([["job-1", 0, 0, 1, SECRET], {}, None]),
    "unknown arguments": envelope([GOOD[0], {"x": SECRET}, None]),
    "a job id that is an object": envelope([[{"a": SECRET}, 0, 0, 1], {}, None]),
    "a job id that breaks out": envelope([["}:job\n" + SECRET, 0, 0, 1], {}, None]),
    "a negative position": envelope([["job-1", 0, -1, 1], {}, None]),
    "a huge position": envelope([["job-1", 0, 10**30, 1], {}, None]),
    "a position in words": envelope([["job-1", 0, SECRET, 1], {}, None]),
    "a pack of nothing": envelope([["job-1", 0, [], 1], {}, None]),
    "a pack of words": envelope([["job-1", 0, [1, SECRET], 1], {}, None]),
    "a dispatch of nothing": envelope([[], {}, None], named("batchq.dispatch")),
    "a wave of nothing": envelope([["job-1", None, 1], {}, None], named("batchq.complete_wave")),
    "an unknown task": envelope([[SECRET], {}, None], named("somebody.elses")),
    "a task name with a line break": envelope(GOOD, named("x\n\x1b[31mERROR forged")),
    "a task name that is a number": envelope(GOOD, named(7)),
    "no headers": envelope(GOOD, None),
    "headers that are a number": envelope(GOOD, 7),
    "headers that are empty": envelope(GOOD, {}),
    "no message id": envelope(GOOD, {key: value for key, value in HEADERS.items() if key != "id"}),
    "an id that is an object": envelope(GOOD, named("batchq.process_item", id={"a": 1})),
    "an eta in words": envelope(GOOD, named("batchq.process_item", eta=SECRET)),
    "an expiry in words": envelope(GOOD, named("batchq.process_item", expires=SECRET)),
    "pickle": replaced(**{"content-type": "application/x-python-serialize"}),
    "a body that is a number": replaced(body=42),
    "a body that is null": replaced(body=None),
    "a body that is no base64": replaced(body="%%%"),
    "an unknown body encoding": envelope(body_encoding="rot13"),
    "a forged retry": envelope(GOOD, named("batchq.process_item", retries=SECRET)),
    "time limits of a wrong type": envelope(GOOD, named("batchq.process_item", timelimit=[SECRET, {}])),
    "a group index in words": envelope(GOOD, named("batchq.process_item", group="g", group_index="x")),
    "callbacks that are no tasks": envelope([*GOOD[:2], {"callbacks": [7, SECRET]}]),
    "an envelope that is no JSON": b"{" + SECRET.encode(),
    "an envelope that is a number": b"42",
    "an envelope that is empty": b"",
    "an envelope that is no UTF-8": b"\xff\xfe" + SECRET.encode(),
    "a chord without a size": envelope(
        [*GOOD[:2], {"chord": {"task": "batchq.complete_wave"}}], named("batchq.process_item", group="g")
    ),
}
# They look like ours, and the store answers that it knows nothing of them.
FORGED: dict[str, bytes] = {
    "a forged job": envelope(),
    "a chord of nobody": envelope([*GOOD[:2], {"chord": {"task": "batchq.complete_wave", "chord_size": 2}}]),
    "an unknown encoding": replaced(**{"content-encoding": "klingon"}),
    "a forged dispatch": envelope([["job-1"], {}, None], named("batchq.dispatch")),
    "a forged wave": envelope([["job-1", 1, 1], {}, None], named("batchq.complete_wave")),
    "a submission of nothing": envelope([[], {}, None], named("batchq.submit")),
    "a submission of a number": envelope([[7], {}, None], named("batchq.submit")),
    "a cancellation of nothing": envelope([[], {}, None], named("batchq.cancel")),
    "a cancellation of a list": envelope([[[SECRET]], {}, None], named("batchq.cancel")),
}


@pytest.mark.parametrize(("pool", "slots"), [("gevent", 10), ("prefork", 1)])
def test_poison_costs_a_line_and_no_worker(
    fleet: Fleet, client: Client, database: Database, pool: str, slots: int
) -> None:
    worker = fleet.start(pool, slots)
    eventually(lambda: client.fleet())
    for number, raw in enumerate([*POISON.values(), *FORGED.values()]):
        raw = raw.replace(b'"tag-1"', f'"tag-{number}"'.encode()).replace(
            b"message-1", b"message-%d" % number
        )
        database.command("LPUSH", "batchq.control", raw)
    job = client.submit(items(20), operation="work")
    assert job.wait(12).succeeded == 20
    eventually(lambda: not database.command("EXISTS", "batchq:unacked", "batchq.control"))
    assert worker.poll() is None
    logs = fleet.logs()
    assert logs.count(" dropped a message in queue 'batchq.control': ") == len(POISON)
    eventually(lambda: sum(client.walk.fleet.dropped().values()) == len(POISON))
    assert SECRET not in logs
    assert "\x1b" not in logs
    assert "\nERROR forged" not in logs
