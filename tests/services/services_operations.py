"""What the tests of other services add to a worker: it says when it begins a submission, and may be held there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery.signals import task_prerun
from fleet_operations import record

HOLD = Path(os.environ.get("SERVICES_HOLD", "/nonexistent"))


@task_prerun.connect
def _begun(sender: Any, **_: Any) -> None:
    if sender.name == "batchq.submit":
        record("submission", os.getpid())
        while HOLD.exists():
            time.sleep(0.02)
