"""A submission that comes as a `batchq.submit` message, from any program that can send a Celery task.

Whoever can write to the queue may send anything, so nothing of it is believed: types are checked, sizes are
bounded, and files are read under the workers' file roots only. The key is the sender's, else the Celery task id,
so that a message delivered twice makes one job.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from batchq.core.records import ErrorInfo, Item
from batchq.errors import Complaint, ConfigurationError, InputError, NotEnoughMemory, ProviderError
from batchq.flow.message_source import check_destination_of_message, spec_of
from batchq.flow.patience import patiently
from batchq.flow.submission import ARGUMENTS, Submission, check_arguments
from batchq.flow.submit import submit
from batchq.flow.walk import Walk
from batchq.formats import masked, read
from batchq.formats.given import given_items
from batchq.formats.places import Folder
from batchq.formats.words import listed, meant, shown
from batchq.store import codec

MAX_ITEMS = 1_000
MAX_BYTES = 4_000_000  # as JSON
TASK_KEY = "celery task "  # before a task id that serves as the key

TAKEN = tuple(name for name in ARGUMENTS if name != "retention_s")  # the workers' own setting decides on that
KNOWN = ("items", *TAKEN)


def submit_message(
    walk: Walk,
    payload: Mapping[str, Any],
    *,
    task_id: str,
    retention_ms: int,
    preflight: Callable[[str], None] | None = None,
) -> str:
    """Store and start the job that the message describes; its id. Sending it again gives the same one.

    While the store is away it waits. Raises InputError, Conflict, NotEnoughMemory, ConfigurationError, and GaveUp
    when the process is to stop first; nothing is stored then.
    """
    _check(payload)
    submission = _submission(payload, task_id, retention_ms)
    if submission.destination is not None:
        check_destination_of_message(submission.destination, walk.settings)

    def attempt() -> str | NotEnoughMemory:
        try:
            with _opened(payload, walk) as rows:
                return submit(walk, submission, rows, preflight=preflight).job_id
        except NotEnoughMemory as exc:
            return exc  # not waited for: the sender is to hear of it

    try:
        outcome = patiently(attempt, walk.stop.is_set)
    except ProviderError as exc:  # of the preflight: what it carries does not travel
        raise ConfigurationError(f"the worker's provider refuses the job; nothing was stored: {exc}") from exc
    if isinstance(outcome, NotEnoughMemory):
        raise outcome
    return outcome


def _check(payload: Mapping[str, Any]) -> None:
    for name in payload:
        if name not in KNOWN:
            raise InputError(f"unknown argument {shown(name)}{meant(name, KNOWN)} Known: {listed(KNOWN)}")
    check_arguments({name: payload[name] for name in TAKEN if name in payload})
    if payload.get("source") is None:
        _check_size(payload)
    elif payload.get("items") is not None:
        raise InputError("give items or source, not both")


def _check_size(payload: Mapping[str, Any]) -> None:
    items = payload.get("items")
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise InputError("items must be a list of items: prompts, [id, prompt] pairs, or objects")
    more = "send several messages, or name the list's address as source"
    if len(items) > MAX_ITEMS:
        raise InputError(f"{len(items):,} items: a message takes up to {MAX_ITEMS:,}; {more}")
    size = len(codec.dump({**payload, "items": []}))
    for item in items:
        size += len(codec.dump(item))
        if size > MAX_BYTES:
            raise InputError(f"the message has more than {MAX_BYTES // 10**6} MB; {more}")


def _submission(payload: Mapping[str, Any], task_id: str, retention_ms: int) -> Submission:
    given = {name: value for name, value in payload.items() if name in TAKEN and value is not None}
    given.pop("prompt", None)
    if "source" in given:
        given["source"] = masked(given["source"])
    if "job_id" not in given and "idempotency_key" not in given:
        given["idempotency_key"] = TASK_KEY + task_id
    return Submission(**given, retention_ms=retention_ms)


@contextmanager
def _opened(payload: Mapping[str, Any], walk: Walk) -> Iterator[Iterable[Item | Complaint]]:
    """What the message brings, or the list that it names."""
    prompt, source = payload.get("prompt"), payload.get("source")
    if source is None:
        yield given_items(_rows(payload["items"]), prompt, _folder(walk))
        return
    with read(spec_of(source, prompt, walk.settings)) as reading:
        yield reading


def _rows(items: Sequence[Any]) -> Iterator[Any]:
    """JSON knows no tuples: an (id, prompt) pair comes as a list."""
    return (tuple(item) if isinstance(item, list) else item for item in items)


def _folder(walk: Walk) -> Folder:
    """Files under the workers' file roots, relative ones to the first; without roots none at all."""
    roots = tuple(map(str, walk.settings.file_roots))
    return Folder.of(roots[0], roots) if roots else _NoFolder(os.devnull)


class _NoFolder(Folder):
    def find(self, name: str) -> tuple[dict[str, str], ErrorInfo | None]:
        message = f"{shown(name)}: the workers have no BATCHQ_FILE_ROOTS, so a message can name no file"
        return {"name": name}, ErrorInfo(0, "FILE_OUTSIDE_ROOTS", message)
