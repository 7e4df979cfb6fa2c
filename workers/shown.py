"""Which tasks Flower shows, and what of their arguments: a job's id, its wave, and counts.

Task events are on for the tasks that move whole jobs and off for items: three events an item would cost more than
the item does. What a message says of its own arguments is not believed, since `batchq.submit` comes from other
programs and carries prompts: the few plain values worth showing are read from the payload itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task
from celery.worker.request import Request

JOB = "job_id"
COUNTS = ("wave", "items")  # lists and dicts by their length
LONGEST = 128  # characters of a job's id


def shown_arguments(names: Sequence[str], args: object, kwargs: object) -> tuple[str, str]:
    """What Flower's args and kwargs columns may say of a call of `task(*names)`: `wave=7, items=33` and
    `{'job_id': '…'}`. Short enough for the columns, and `kwargs:job_id=…` finds a job. Values of a wrong shape are
    left out.
    """
    given: dict[str, Any] = {}
    if isinstance(args, list | tuple):
        given.update(zip(names, args, strict=False))
    if isinstance(kwargs, Mapping):
        given.update(kwargs)
    counts = [f"{name}={count}" for name in COUNTS if (count := _count(given.get(name))) is not None]
    job_id = given.get(JOB)
    job = {JOB: job_id[:LONGEST]} if isinstance(job_id, str) else {}
    return ", ".join(counts), repr(job)


def _count(value: object) -> int | None:
    if isinstance(value, list | dict):
        return len(value)
    return value if isinstance(value, int) else None


class ShownRequest(Request):
    """A request whose events, logs and inspection show job id, wave and counts, whatever it carries."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = tuple(inspect.signature(self.task.run).parameters)
        message: dict[str, Any] = self.request_dict
        counts, job = shown_arguments(names, message["args"], message["kwargs"])
        self._argsrepr = message["argsrepr"] = counts
        self._kwargsrepr = message["kwargsrepr"] = job

    def send_event(self, type: str, **fields: Any) -> None:
        """Errors by their class alone: what they say is for the sender, and may quote what was sent."""
        if "exception" in fields:
            fields["exception"] = str(fields["exception"]).partition("(")[0]
        if "traceback" in fields:
            fields["traceback"] = ""
        super().send_event(type, **fields)

    def info(self, safe: bool = False) -> Any:  # noqa: ARG002
        """For remote control; the arguments themselves are never sent there."""
        return super().info(safe=True)


class ShownTask(Task):  # type: ignore[type-arg]
    """The base of tasks that Flower's Tasks page lists."""

    send_events = True
    Request = "workers.shown:ShownRequest"
