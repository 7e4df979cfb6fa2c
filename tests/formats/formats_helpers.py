"""Inputs written for one test, and what came of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from batchq.core.records import ErrorInfo, Item
from batchq.errors import Complaint
from batchq.formats import InputSpec, Reading, read

Rows = list[Item | Complaint]


class Inputs:
    """Writes an input into a folder of its own and reads it through."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def open(self, name: str, content: str | bytes, **options: Any) -> Reading:
        return read(InputSpec(str(self.path(name, content)), **options))

    def rows(self, name: str, content: str | bytes, **options: Any) -> Rows:
        return list(self.open(name, content, **options))

    def items(self, name: str, content: str | bytes, **options: Any) -> list[Item]:
        return only_items(self.rows(name, content, **options))

    def piped(self, content: str | bytes, **options: Any) -> Reading:
        data = content.encode() if isinstance(content, str) else content
        return read(InputSpec("-", **options), stdin=io.BytesIO(data))


def only_items(rows: Rows) -> list[Item]:
    assert all(isinstance(row, Item) for row in rows), rows
    return [row for row in rows if isinstance(row, Item)]


def only_complaint(rows: Rows) -> Complaint:
    [complaint] = [row for row in rows if isinstance(row, Complaint)]
    return complaint


def problem_of(item: Item | Complaint) -> ErrorInfo:
    assert isinstance(item, Item), item
    assert item.problem is not None, item
    assert item.problem.code == 0
    return item.problem
