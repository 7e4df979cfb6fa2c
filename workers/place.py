"""Where this worker works: its settings with the store's address, and the Celery queues it consumes by default."""

from __future__ import annotations

import sys
from dataclasses import replace

from batchq import wiring
from batchq.errors import BatchqError
from batchq.settings import load
from batchq.wiring import Place


def _find() -> tuple[Place, list[str]]:
    try:
        found = wiring.locate(load(), start=False)
        settings = wiring.load_operations(found.settings)
        return replace(found, settings=settings), wiring.worker_queues(settings)
    except BatchqError as exc:
        if "celery.bin.celery" not in sys.modules:
            raise
        # Celery's command line would show it at the end of a traceback
        sys.stderr.write(f"batchq: {exc}\n")
        raise SystemExit(1) from None


place, queues = _find()
