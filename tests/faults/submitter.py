"""A program that submits a list and is killed on the way: `python submitter.py URL KEY ITEMS STOP_AT`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

from fleet_kit import settings_on

from batchq import Client, Item
from batchq.wiring import Place

url, key, items, stop_at = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def rows() -> Iterator[Item]:
    for number in range(items):
        if number == stop_at:
            print("here", flush=True)  # noqa: T201
            signal.pause()
        yield Item(f"i{number}", {"n": number, "ms": 1, "note": "tangerine-7731"})


Client(place=Place(settings_on(url), embedded=True)).submit(rows(), operation="work", idempotency_key=key)
print("sealed", flush=True)  # noqa: T201
signal.pause()
