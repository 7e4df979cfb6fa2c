"""A program that has only Celery, and what it may be sent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from batchq.core.redis_url import parse

SCRIPT = """
import json, sys
from celery import Celery

assert "batchq" not in sys.modules
broker, backend, calls = sys.argv[1], sys.argv[2], json.loads(sys.stdin.read())
app = Celery("somebody", broker=broker, backend=backend)
answers = []
for call in calls:
    sent = app.send_task(call.pop("name"), queue="batchq.control", **call)
    try:
        answers.append({"id": sent.id, "result": sent.get(timeout=30)})
    except Exception as exc:
        answers.append({"id": sent.id, "error": type(exc).__name__, "message": str(exc)})
assert "batchq" not in sys.modules
print(json.dumps(answers))
"""


def call(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"name": name, "kwargs": kwargs}


def send(url: str, calls: list[dict[str, Any]], environ: Mapping[str, str] | None = None) -> list[Any]:
    """What a plain Celery app with default settings gets for each call, in turn."""
    address = parse(url)
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, address.broker_url(), address.backend_url()],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=60,
        env=environ and dict(environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers
