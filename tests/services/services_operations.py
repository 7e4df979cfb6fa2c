"""What the tests of other services add to a worker: it says when it begins a submission, and may be held there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery.signals import task_prerun
from fleet_operations import record

from batchq import Rejected, operation
from batchq.operations.base import Call

HOLD = Path(os.environ.get("SERVICES_HOLD", "/nonexistent"))


@task_prerun.connect
def _begun(sender: Any, **_: Any) -> None:
    if sender.name == "batchq.submit":
        record("submission", os.getpid())
        while HOLD.exists():
            time.sleep(0.02)


@operation("quoting")
def quoting(input: dict[str, Any], call: Call) -> None:
    """An operation whose errors quote what it was given."""
    if "refuse" in input:
        raise Rejected(f"no: {input['refuse']}", code=400, kind="INVALID_ARGUMENT")
    try:
        raise KeyError(input["quote"])
    except KeyError as exc:
        raise ValueError(f"cannot read {input['quote']!r}") from exc
