"""Operations that say of themselves where and how they run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fleet_operations import calls_of, record

from batchq import operation
from batchq.operations.base import Call


@dataclass
class Parcel:
    weight: int
    rush: bool = False


@dataclass
class Price:
    cents: int


@operation("weigh", queue="counter", rpm=1_200, concurrency=8)
def weigh(parcel: Parcel, call: Call) -> Price:
    record("call", call.item_id, f"{time.time():.4f}")
    time.sleep(0.02)
    record("end", call.item_id)
    return Price("free") if parcel.rush else Price(parcel.weight * 10)  # type: ignore[arg-type]


@operation("stubborn", max_attempts=3, backoff_s=0.02, retry_on=(KeyError,), fail_on=(OSError,))
def stubborn(input: dict[str, Any], call: Call) -> int:
    record("call", call.item_id)
    if calls_of(call.item_id) <= input["fail"]:
        raise {"KeyError": KeyError, "OSError": OSError}[input["error"]]("once more")
    return call.attempt


@operation("overruled", queue="counter", max_attempts=4, backoff_s=0.02)
def overruled(input: dict[str, Any], call: Call) -> None:
    record("call", call.item_id)
    raise OSError("never")
