"""Operations of a user's own (BATCHQ_INCLUDE) whose end the tests decide. CLI_FOLDER holds their marks."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from celery.worker import state

from batchq import operation

FOLDER = Path(os.environ["CLI_FOLDER"])
if (FOLDER / "no-workers").exists() and "gevent" in sys.modules:
    raise RuntimeError("these workers shall not start")


def mark(name: str) -> None:
    with (FOLDER / name).open("a") as file:
        file.write("x")


@operation("shout")
def shout(input: dict[str, Any]) -> Any:
    if input["prompt"].startswith("bad"):
        raise ValueError("cannot \x1b[31mshout")
    return {"loud": input["prompt"].upper()}


@operation("gated")
def gated(input: dict[str, Any]) -> Any:
    """Ends when the file `gate` is there."""
    mark(f"began-{input['prompt']}")
    while not (FOLDER / "gate").exists():
        time.sleep(0.02)
    return input["prompt"]


@operation("loyal")
def loyal(input: dict[str, Any]) -> Any:
    """Asks the run's emulator once its worker was told to stop."""
    mark("began-loyal")
    while state.should_stop is None:
        time.sleep(0.02)
    with urllib.request.urlopen(f"{os.environ['GOOGLE_GEMINI_BASE_URL']}/emulator/stats", timeout=10):
        mark("answered")


@operation("deadly")
def deadly(input: dict[str, Any]) -> Any:
    """Kills its worker the first time."""
    if not (FOLDER / "died").exists():
        mark("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return input["prompt"]
