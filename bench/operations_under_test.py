"""Own operations whose work is nothing: what is left is batchq itself."""

from __future__ import annotations

import time
from typing import Any

from batchq import operation


@operation("noop")
def noop(input: dict[str, Any]) -> None:
    return None


@operation("doze")
def doze(input: dict[str, Any]) -> None:
    time.sleep(3)  # long enough for every slot to hold an item
