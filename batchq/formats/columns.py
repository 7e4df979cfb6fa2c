"""Rows of columns (CSV, Parquet, SQL): which columns a list needs, and a row's cells as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any

from batchq.core.records import ErrorInfo, Item
from batchq.errors import Complaint, InputError
from batchq.formats.items import ID_KEYS, BadRow, ItemMaker
from batchq.formats.words import listed, meant, shown

OWN_COLUMNS = ("prompt", "text", "file")  # taken without a template


def check_columns(columns: Sequence[str], maker: ItemMaker, what: str) -> None:
    """Raise InputError where no row could become an item; `what` has the columns ("the CSV file")."""
    template, id_field = maker.template, maker.id_field
    if id_field is not None and id_field not in columns:
        raise InputError(
            f"--id-field names {shown(id_field)}, which {what} does not have"
            f"{meant(id_field, columns)} It has: {listed(columns)}"
        )
    if template is None:
        if not set(columns) & set(OWN_COLUMNS):
            raise InputError(
                f"{what} has no column prompt, text or file, but: {listed(columns)}. "
                f"Say what to ask with --prompt, such as --prompt '{{{shown(columns[0])[1:-1]}}}'"
            )
        return
    template.check(columns, what)
    if not template.fields and "file" not in columns:
        raise InputError(
            "--prompt has no {column}: every row would ask the same. "
            f"Put the row's columns in it; there are: {listed(columns)}"
        )


def needed(columns: Sequence[str], maker: ItemMaker) -> list[str]:
    """The columns that items are made of, in their order; the others need not be read."""
    wanted = set(OWN_COLUMNS) if maker.template is None else {"file", *maker.template.fields}
    wanted |= set(ID_KEYS) if maker.id_field is None else {maker.id_field}
    return [name for name in columns if name in wanted]


def item_of_row(maker: ItemMaker, fields: Mapping[str, Any], row: int) -> Item | Complaint:
    """An item of a row of values, as a database or a Parquet file holds them."""
    place = f"row {row}"
    cells: dict[str, str] = {}
    problem: ErrorInfo | None = None
    for name, value in fields.items():
        text = spelled(value)
        if text is None:
            problem = ErrorInfo(0, "WRONG_TYPE", f"{shown(name)} holds bytes that are no UTF-8 text")
        cells[name] = text or ""
    try:
        item = maker.of_columns(cells, row, place)
    except BadRow as exc:
        return Complaint(place, str(exc), row)
    return item if problem is None else replace(item, input={}, problem=problem)


def spelled(value: Any) -> str | None:
    """A cell as it stands in a prompt: null is nothing, a date ISO 8601, a list or object JSON.

    None: bytes that are no text.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case bool() | int() | float():
            return json.dumps(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            try:
                return bytes(value).decode()
            except UnicodeDecodeError:
                return None
        case dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, default=spelled)
    return str(value)  # decimals, UUIDs, intervals, what a database has of its own
