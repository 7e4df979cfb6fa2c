"""Operations for the tests of the fleet. They record each call in a file, outside the server under test."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from batchq import Fatal, Rejected, Throttled, Unavailable, operation
from batchq.operations.base import Call

CALLS = Path(os.environ["FLEET_CALLS"])


def record(*words: object) -> None:
    """One line, written whole: several processes append to the same file."""
    line = " ".join(str(word) for word in words) + "\n"
    handle = os.open(CALLS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def calls_of(item_id: str) -> int:
    lines = (line.split() for line in CALLS.read_text().splitlines())
    return sum(words[:2] == ["call", item_id] for words in lines)


@operation("held")
def held(input: dict[str, Any], call: Call) -> dict[str, Any]:
    """Ends when there is a file `go` beside the record of calls."""
    record("call", call.item_id, os.getpid(), f"{time.time():.4f}")
    while not CALLS.with_name("go").exists():
        time.sleep(0.02)
    return {"answer": input.get("n")}


@operation("work")
def work(input: dict[str, Any], call: Call) -> dict[str, Any]:
    """Sleep `ms`, then compute for `hog_s`, then answer; fail the first `fail` attempts with the error named."""
    began = time.time()
    record("call", call.item_id, os.getpid(), f"{began:.4f}")
    time.sleep(input.get("ms", 0) / 1000)
    if input.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    while time.time() - began < input.get("hog_s", 0):
        pass  # computes without letting anybody else
    if input.get("fail", 0) and calls_of(call.item_id) <= input["fail"]:
        raise {
            "passing": Unavailable("try later", code=503, kind="UNAVAILABLE"),
            "limited": Throttled("too fast", retry_after_ms=200),
            "refused": Rejected("no", code=400, kind="INVALID_ARGUMENT"),
            "fatal": Fatal("the key is not valid", code=401, kind="UNAUTHENTICATED"),
        }[input["error"]]
    record("end", call.item_id, os.getpid(), f"{time.time():.4f}")
    return {"answer": input.get("n")}
