"""Items that a program gives: through the Client, or in a `batchq.submit` message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats.items import item_from
from batchq.formats.places import Folder
from batchq.formats.template import Template

Rows = Iterable[Item | Mapping[str, Any] | tuple[str, str] | str | Complaint]


def given_items(rows: Rows, prompt: str | None, folder: Folder | None = None) -> Iterator[Item | Complaint]:
    """Each row as an item, or what is wrong with it; read as it is asked for.

    `prompt` is a template for rows of fields. `folder` is where relative files lie and which files may be named
    at all; None: any file of this machine. Raises InputError for what is no list of rows.
    """
    if isinstance(rows, str | Mapping):
        raise InputError("items must be an iterable of items, not one of them: put it in a list")
    template = Template(prompt) if prompt is not None else None
    for number, row in enumerate(rows, 1):
        if isinstance(row, Complaint):
            yield row
            continue
        try:
            yield item_from(row, number, template, folder=folder)
        except InputError as exc:
            if not exc.complaints:
                raise
            yield from exc.complaints  # all of them are told at once, when the input ends
