"""Readers and writers, a format a file. Names are loaded when first used, so that `--help` stays quick."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchq.formats.addresses import is_address, is_database, masked
    from batchq.formats.files import inspect, load
    from batchq.formats.items import item_from, row_id
    from batchq.formats.reading import Reading, read
    from batchq.formats.spec import FORMATS, OUTPUT_FORMATS, InputSpec
    from batchq.formats.template import Template
    from batchq.formats.writers import Destination, Written, check_destination, result_line, write

_HOMES = {
    "FORMATS": "spec",
    "OUTPUT_FORMATS": "spec",
    "Destination": "writers",
    "InputSpec": "spec",
    "Reading": "reading",
    "Template": "template",
    "Written": "writers",
    "check_destination": "writers",
    "inspect": "files",
    "is_address": "addresses",
    "is_database": "addresses",
    "item_from": "items",
    "load": "files",
    "masked": "addresses",
    "read": "reading",
    "result_line": "writers",
    "row_id": "items",
    "write": "writers",
}

__all__ = [
    "FORMATS",
    "OUTPUT_FORMATS",
    "Destination",
    "InputSpec",
    "Reading",
    "Template",
    "Written",
    "check_destination",
    "inspect",
    "is_address",
    "is_database",
    "item_from",
    "load",
    "masked",
    "read",
    "result_line",
    "row_id",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
