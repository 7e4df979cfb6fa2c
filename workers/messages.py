"""What a message must look like before it reaches a task. Whoever can write to a queue may write anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from batchq import dispatch
from batchq.flow.submission import JOB_ID

LARGEST = 2**53 - 1  # a number that Lua keeps exactly
LONGEST_ID = 256  # of a message
JOB, NUMBER, PLACE = "job", "number", "place"  # a place: a number, or those of a pack
MOST_PLACES = 1_000

# What the tasks of the walk carry. Those that other programs call answer for themselves: their sender is to hear.
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    dispatch.PROCESS_ITEM: {"job_id": JOB, "lane": NUMBER, "position": PLACE, "ticket": NUMBER},
    dispatch.COMPLETE_WAVE: {"job_id": JOB, "wave": NUMBER, "items": NUMBER},
    dispatch.DISPATCH: {"job_id": JOB},
    dispatch.REDRIVE: {"job_id": JOB, "index": NUMBER},
}
LINKS = ("callbacks", "errbacks", "chain")
NUMBERS = ("retries", "group_index")  # headers
TEXTS = ("group", "root_id", "parent_id", "eta", "expires")


def fault_of(headers: object, payload: object) -> str | None:
    """What is wrong with a decoded message, in words that quote nothing of it; None: it may go to its task."""
    if not isinstance(headers, Mapping) or headers.get("task") is None:
        return "no task header"  # protocol 1, which Celery has not sent since 2016
    name, message_id = headers["task"], headers.get("id")
    if not isinstance(name, str):
        return "a task name that is no text"
    if not isinstance(message_id, str) or not 0 < len(message_id) <= LONGEST_ID:
        return "no id"
    if not _headers_fit(headers):
        return "a header of a wrong type"
    if not isinstance(payload, Sequence) or isinstance(payload, str) or len(payload) != 3:
        return "a body that is not [args, kwargs, embed]"
    args, kwargs, embed = payload
    if not isinstance(args, list) or not isinstance(kwargs, Mapping):
        return "args or kwargs of a wrong type"
    if not _embeds(embed):
        return "an embed of a wrong type"
    wanted = ARGUMENTS.get(name)
    return None if wanted is None else _misfit(wanted, args, kwargs)


def _headers_fit(headers: Mapping[str, Any]) -> bool:
    """The headers that Celery trusts in the main loop of the worker, where an error ends it."""
    limits = headers.get("timelimit")
    if limits is not None and not (isinstance(limits, list) and len(limits) == 2):
        return False
    return (
        _are(limits or (), int, float)
        and _are(map(headers.get, NUMBERS), int)
        and _are(map(headers.get, TEXTS), str)
    )


def _are(values: Iterable[object], *kinds: type) -> bool:
    for value in values:  # noqa: SIM110 - each message passes here, and a generator costs twice as much
        if value is not None and not isinstance(value, kinds):
            return False
    return True


def _embeds(embed: object) -> bool:
    if embed is None:
        return True
    if not isinstance(embed, Mapping):
        return False
    tasks: list[Any] = []
    for name in LINKS:
        link = embed.get(name)
        if link is None:
            continue
        if not isinstance(link, list):
            return False
        tasks += link
    chord = embed.get("chord")
    if chord is not None:
        if not isinstance(chord, Mapping) or not isinstance(chord.get("chord_size"), int):
            return False
        tasks.append(chord)
    return all(isinstance(task, Mapping) and isinstance(task.get("task"), str) for task in tasks)


def _misfit(wanted: Mapping[str, str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    given = {**dict(zip(wanted, args, strict=False)), **kwargs}
    if len(args) + len(kwargs) != len(wanted) or given.keys() != wanted.keys():
        return "other arguments than the task has"
    for name, kind in wanted.items():
        value = given[name]
        if kind is JOB:
            if not isinstance(value, str) or not JOB_ID.fullmatch(value):
                return "a job id that is none"
        elif kind is PLACE and isinstance(value, list):
            if not 0 < len(value) <= MOST_PLACES or not all(map(_is_number, value)):
                return f"a {name} that is no list of whole numbers from 0"
        elif not _is_number(value):
            return f"a {name} that is no whole number from 0"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def shown_name(headers: object) -> str:
    """The task's name for a log line: short, and nothing in it can pose as another line."""
    name = headers.get("task") if isinstance(headers, Mapping) else None
    return json.dumps(name[:80]) if isinstance(name, str) else "none"
