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

SHOWN = ("job_id", "wave", "items")  # arguments by name; lists and dicts as their length
LONGEST = 80  # characters of a text


def shown_arguments(names: Sequence[str], args: object, kwargs: object) -> dict[str, str | int]:
    """What may be seen of a call of `task(*names)`; arguments of a wrong shape are left out."""
    given: dict[str, Any] = {}
    if isinstance(args, list | tuple):
        given.update(zip(names, args, strict=False))
    if isinstance(kwargs, Mapping):
        given.update(kwargs)
    seen: dict[str, str | int] = {}
    for name in SHOWN:
        value = given.get(name)
        if isinstance(value, str):
            seen[name] = value[:LONGEST]
        elif isinstance(value, int):
            seen[name] = value
        elif isinstance(value, list | dict):
            seen[name] = len(value)
    return seen


class ShownRequest(Request):
    """A request whose events, logs and inspection show job id, wave and counts, whatever it carries."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = tuple(inspect.signature(self.task.run).parameters)
        message: dict[str, Any] = self.request_dict
        self._argsrepr = message["argsrepr"] = ""
        self._kwargsrepr = message["kwargsrepr"] = repr(
            shown_arguments(names, message["args"], message["kwargs"])
        )

    def info(self, safe: bool = False) -> Any:  # noqa: ARG002
        """For remote control; the arguments themselves are never sent there."""
        return super().info(safe=True)


class ShownTask(Task):  # type: ignore[type-arg]
    """The base of tasks that Flower's Tasks page lists."""

    send_events = True
    Request = "workers.shown:ShownRequest"
