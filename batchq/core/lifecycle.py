"""The states of jobs and items, and the moves between them.

In Redis an item's state is one byte (see `ItemByte`), because a ten-million-item job must fit. The Lua files
use the same letters; tests/store/test_words.py compares both and names the places when they differ.
"""

from __future__ import annotations

from enum import StrEnum


class ItemState(StrEnum):
    PENDING = "pending"  # waiting to go out, or given back
    PROCESSING = "processing"  # in a wave; leased to one worker process once claimed
    SUCCEEDED = "succeeded"  # settled: an answer is stored
    FAILED = "failed"  # settled: refused for good
    DEAD_LETTER = "dead_letter"  # settled: retries ran out, or workers died under it
    CANCELLED = "cancelled"  # settled: its job was cancelled, or its deadline passed, first


class ItemByte(StrEnum):
    """One byte an item in `{job}:st`."""

    NEW = "."
    REDRIVEN = "r"
    BACK = "b"
    DISPATCHED = "d"
    LEASED = "l"
    WAITING = "w"  # for its Celery retry to arrive
    SUCCEEDED = "S"
    FAILED = "F"
    DEAD_LETTER = "D"
    CANCELLED = "X"


STATE_OF_BYTE: dict[str, ItemState] = {
    ItemByte.NEW: ItemState.PENDING,
    ItemByte.REDRIVEN: ItemState.PENDING,
    ItemByte.BACK: ItemState.PENDING,
    ItemByte.DISPATCHED: ItemState.PROCESSING,
    ItemByte.LEASED: ItemState.PROCESSING,
    ItemByte.WAITING: ItemState.PROCESSING,
    ItemByte.SUCCEEDED: ItemState.SUCCEEDED,
    ItemByte.FAILED: ItemState.FAILED,
    ItemByte.DEAD_LETTER: ItemState.DEAD_LETTER,
    ItemByte.CANCELLED: ItemState.CANCELLED,
}
SETTLED_BYTE: dict[ItemState, ItemByte] = {
    ItemState.SUCCEEDED: ItemByte.SUCCEEDED,
    ItemState.FAILED: ItemByte.FAILED,
    ItemState.DEAD_LETTER: ItemByte.DEAD_LETTER,
    ItemState.CANCELLED: ItemByte.CANCELLED,
}
SETTLED = frozenset(SETTLED_BYTE)
UNSUCCESSFUL = frozenset({ItemState.FAILED, ItemState.DEAD_LETTER, ItemState.CANCELLED})
DEAD_LETTERS = frozenset({ItemState.FAILED, ItemState.DEAD_LETTER})  # both are kept for review and redrive

MOVES: dict[ItemState, frozenset[ItemState]] = {
    ItemState.PENDING: frozenset({ItemState.PROCESSING, ItemState.CANCELLED}),
    ItemState.PROCESSING: SETTLED | {ItemState.PENDING},  # back: given back, or its worker was lost
    ItemState.FAILED: frozenset({ItemState.PENDING}),  # a redrive
    ItemState.DEAD_LETTER: frozenset({ItemState.PENDING}),
    ItemState.SUCCEEDED: frozenset(),
    ItemState.CANCELLED: frozenset(),
}


class JobState(StrEnum):
    RECEIVING = "receiving"  # being submitted: in no list, runs nothing
    PENDING = "pending"  # sealed; nothing has gone out yet
    PROCESSING = "processing"
    PAUSED = "paused"
    COMPLETED = "completed"  # every item is settled, whatever the outcomes
    FAILED = "failed"  # the job as a whole cannot go on
    CANCELLED = "cancelled"


ENDED = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})


class HoldCause(StrEnum):
    """Why a job is paused. It runs when no cause is left."""

    PERSON = "person"
    BUDGET = "budget"
    FATAL = "fatal"


HOLD_REASONS: dict[HoldCause, str] = {
    HoldCause.PERSON: "paused by a person",
    HoldCause.BUDGET: "the cost limit is reached",
    HoldCause.FATAL: "the provider refuses every request",
}
