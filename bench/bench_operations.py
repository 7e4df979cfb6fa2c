"""The smallest operation there is: what is left is batchq itself."""

from __future__ import annotations

from typing import Any

from batchq import operation


@operation("noop")
def noop(input: dict[str, Any]) -> None:
    return None
