"""The operation of the jobs that these tests look at in Flower."""

from __future__ import annotations

import time
from typing import Any

from batchq import Rejected, operation
from batchq.operations.base import Call


@operation("chore")
def work(input: dict[str, Any], call: Call) -> dict[str, Any]:
    """Sleep `ms`; refuse with the text `error` where there is one."""
    time.sleep(input.get("ms", 0) / 1000)
    if "error" in input:
        raise Rejected(input["error"], code=400, kind=input.get("kind", "INVALID_ARGUMENT"))
    return {"answer": input.get("n")}
