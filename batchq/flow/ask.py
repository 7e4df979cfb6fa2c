"""The call: the item read, the operation run. Whatever happens becomes a value."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from batchq.core.discreet import trace_of
from batchq.core.records import Answer, FileRef, Usage
from batchq.errors import BatchqError, ProviderError, Unavailable, Unsendable
from batchq.flow.calls import TimedOut
from batchq.flow.patience import GaveUp, patiently
from batchq.flow.task import Asked, Task
from batchq.flow.uploads import JobUploads
from batchq.flow.walk import Walk
from batchq.formats import files
from batchq.operations.attachments import MOST_INLINE
from batchq.operations.base import Blob, Call, Operation, PackedOperation, UploadingOperation
from batchq.store.codec import StoredItem

T = TypeVar("T")

log = logging.getLogger("batchq")
PROVIDER_SPARE_S = 2.0  # the provider's adapter keeps the deadline itself, and can say what was waited for


def ask(task: Task, walk: Walk) -> Asked:
    """Make the call. Whatever happens becomes a value. Raises GaveUp and CutShort when the process has to go."""
    call = prepared(task, walk)
    began = int(time.time() * 1000)  # reading it is no part of the call
    if isinstance(call, ProviderError):
        return Asked(None, call, began, 0, Usage(), called=not isinstance(call, Unsendable))

    def run() -> Answer:
        operation = walk.operation(task.lane.operation)
        return walk.calls.run(partial(operation.run, call), _time_of(operation, call))

    answer, duration_ms = _timed(task, run)
    return _asked(answer, began, duration_ms)


def ask_together(
    tasks: Sequence[Task], calls: Sequence[Call], operation: PackedOperation, walk: Walk
) -> list[Asked]:
    """Make one call for all; an answer each, or the same error for all. Raises GaveUp and CutShort."""
    began = int(time.time() * 1000)

    def run() -> Sequence[Answer]:
        return walk.calls.run(lambda: operation.run_pack(calls), _time_of(operation, calls[0]))

    answers, duration_ms = _timed(tasks[0], run)
    if isinstance(answers, ProviderError):
        return [_asked(answers, began, duration_ms)] * len(tasks)
    return [_asked(answer, began, duration_ms) for answer in answers]


def prepared(task: Task, walk: Walk) -> Call | ProviderError:
    """An item's part of a call; an error where there is none."""
    return _tried(task, lambda: call_of(task, walk, item_of(task, walk)))


def upload(task: Task, walk: Walk) -> ProviderError | None:
    """Have a large file uploaded before a permit is drawn, which holds for half a second; what went wrong. It has the
    time of a call: with less, one that a slow line carries would begin anew for ever. Raises GaveUp and CutShort."""
    operation = walk.operation(task.lane.operation)
    item = item_of(task, walk)
    raw = item.input.get("file")
    large = isinstance(raw, dict) and int(raw.get("size", 0)) > MOST_INLINE
    if not large or not isinstance(operation, UploadingOperation):
        return None

    def run() -> None:
        call = call_of(task, walk, item)
        walk.calls.run(lambda: operation.upload(call), _time_of(operation, call))

    return _tried(task, run)


def item_of(task: Task, walk: Walk) -> StoredItem:
    return walk.shard_patiently(task.spec, task.lease.shard).at(task.lease.position)


def _timed(task: Task, what: Callable[[], T]) -> tuple[T | ProviderError, int]:
    """What comes of a call, and how many ms it took."""
    clock = time.monotonic()
    value = _tried(task, what)
    duration_ms = int((time.monotonic() - clock) * 1000)
    if not isinstance(value, Unsendable):
        task.passage.experience.note(duration_ms / 1000)
    return value, duration_ms


def _tried(task: Task, what: Callable[[], T]) -> T | ProviderError:
    try:
        return what()
    except ProviderError as exc:
        return exc
    except TimedOut:
        return Unavailable("the operation did not end before its deadline", kind="TIMEOUT")
    except GaveUp:
        raise
    except BatchqError as exc:
        return Unavailable(str(exc), kind=type(exc).__name__.upper())
    except Exception as exc:
        log.error(
            "job %s item %d: the operation failed: %s", task.spec.id, task.lease.position, trace_of(exc)
        )
        return Unavailable(
            f"{type(exc).__name__}: an unexpected error, see the worker's log", kind="INTERNAL"
        )


def _asked(came: Answer | ProviderError, began_ms: int, duration_ms: int) -> Asked:
    if isinstance(came, Unsendable):
        return Asked(None, came, began_ms, 0, Usage(), called=False)
    if isinstance(came, ProviderError):
        return Asked(None, came, began_ms, duration_ms, came.usage or Usage())
    return Asked(came, None, began_ms, duration_ms, came.usage)


def _time_of(operation: Operation, call: Call) -> float:
    return call.timeout_s + (PROVIDER_SPARE_S if operation.needs_provider else 0.0)


def call_of(task: Task, walk: Walk, item: StoredItem) -> Call:
    timeout_s = walk.settings.operation(task.lane.operation).timeout_s
    return Call(
        item_id=item.id,
        input=item.input,
        model=task.lane.model,
        options=task.spec.options,
        schema=task.spec.schema_for(task.lane),
        blob=_blob(task, walk, item),
        timeout_s=timeout_s,
        attempt=task.lease.attempts,
        uploads=JobUploads(walk, task.spec.id, timeout_s),
    )


def _blob(task: Task, walk: Walk, item: StoredItem) -> Blob | None:
    raw = item.input.get("file")
    if not isinstance(raw, dict):
        return None
    ref = FileRef.from_wire(raw)
    if ref.path is not None:
        return Blob(ref.name, files.load(ref, map(str, walk.settings.file_roots)))
    data = patiently(lambda: walk.inputs.file(task.spec.id, ref.sha256), walk.stop.is_set)
    if data is None:
        raise Unsendable(f"the bytes of {ref.name} are no longer in the store", kind="FILE_UNREADABLE")
    return Blob(ref.name, data)


def another_may_read(task: Task, walk: Walk) -> bool:
    """Whether a live worker of the queue has the item's file under its roots."""
    item = item_of(task, walk)
    raw = item.input.get("file")
    path = raw.get("path") if isinstance(raw, dict) else None
    queue = walk.queue(task.lane.operation)
    alive = patiently(lambda: walk.fleet.alive(int(walk.settings.lease_s * 1000)), walk.stop.is_set)
    return path is not None and any(
        queue in beat.queues and files.is_under_any(str(path), beat.file_roots) for beat in alive
    )
