"""The call: the item read, the operation run. Whatever happens becomes a value."""

from __future__ import annotations

import logging
import time

from batchq.core.discreet import trace_of
from batchq.core.records import Answer, FileRef, Usage
from batchq.errors import BatchqError, ProviderError, Unavailable, Unsendable
from batchq.flow.calls import TimedOut
from batchq.flow.patience import GaveUp, patiently
from batchq.flow.task import Asked, Task
from batchq.flow.walk import Walk
from batchq.formats import files
from batchq.operations.base import Blob, Call
from batchq.store.codec import StoredItem

log = logging.getLogger("batchq")
PROVIDER_SPARE_S = 2.0  # the provider's adapter keeps the deadline itself, and can say what was waited for


def ask(task: Task, walk: Walk) -> Asked:
    """Make the call. Whatever happens becomes a value. Raises GaveUp and CutShort when the process has to go."""
    began, clock = int(time.time() * 1000), time.monotonic()
    answer: Answer | None = None
    error: ProviderError | None = None
    try:
        item = walk.shard_patiently(task.spec.id, task.lease.shard).at(task.lease.position)
        call = call_of(task, walk, item)
        began, clock = int(time.time() * 1000), time.monotonic()  # reading it is no part of the call
        answer = _run(call, task, walk)
    except ProviderError as exc:
        error = exc
    except TimedOut:
        error = Unavailable("the operation did not end before its deadline", kind="TIMEOUT")
    except GaveUp:
        raise
    except BatchqError as exc:
        error = Unavailable(str(exc), kind=type(exc).__name__.upper())
    except Exception as exc:
        log.error(
            "job %s item %d: the operation failed: %s", task.spec.id, task.lease.position, trace_of(exc)
        )
        error = Unavailable(
            f"{type(exc).__name__}: an unexpected error, see the worker's log", kind="INTERNAL"
        )
    if isinstance(error, Unsendable):
        return Asked(None, error, began, 0, Usage(), called=False)
    duration_ms = int((time.monotonic() - clock) * 1000)
    task.passage.experience.note(duration_ms / 1000)
    usage = answer.usage if answer is not None else getattr(error, "usage", None) or Usage()
    return Asked(answer, error, began, duration_ms, usage)


def _run(call: Call, task: Task, walk: Walk) -> Answer:
    operation = walk.operation(task.lane.operation)
    spare_s = PROVIDER_SPARE_S if operation.needs_provider else 0.0
    return walk.calls.run(lambda: operation.run(call), call.timeout_s + spare_s)


def call_of(task: Task, walk: Walk, item: StoredItem) -> Call:
    return Call(
        item_id=item.id,
        input=item.input,
        model=task.lane.model,
        options=task.spec.options,
        schema=task.spec.schema,
        blob=_blob(task, walk, item),
        timeout_s=walk.settings.operation(task.lane.operation).timeout_s,
        attempt=task.lease.attempts,
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
    item = walk.shard_patiently(task.spec.id, task.lease.shard).at(task.lease.position)
    raw = item.input.get("file")
    path = raw.get("path") if isinstance(raw, dict) else None
    queue = walk.settings.operation(task.lane.operation).queue or task.lane.operation
    alive = patiently(lambda: walk.fleet.alive(int(walk.settings.lease_s * 1000)), walk.stop.is_set)
    return path is not None and any(
        queue in beat.queues and files.is_under_any(str(path), beat.file_roots) for beat in alive
    )
