"""Readers and writers, a format a file. Names are loaded when first used, so that `--help` stays quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchq.core.lazily import lazily

if TYPE_CHECKING:
    from batchq.formats.addresses import is_address, is_database, masked
    from batchq.formats.files import inspect, load
    from batchq.formats.items import item_from, row_id
    from batchq.formats.reading import Reading, read
    from batchq.formats.spec import FORMATS, OUTPUT_FORMATS, InputSpec
    from batchq.formats.template import Template
    from batchq.formats.writers import (
        Destination,
        Written,
        check_destination,
        result_line,
        url_destination,
        write,
    )

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
    "url_destination",
    "write",
]

__getattr__ = lazily(
    __name__,
    {
        "addresses": ("is_address", "is_database", "masked"),
        "files": ("inspect", "load"),
        "items": ("item_from", "row_id"),
        "reading": ("Reading", "read"),
        "spec": ("FORMATS", "OUTPUT_FORMATS", "InputSpec"),
        "template": ("Template",),
        "writers": ("Destination", "Written", "check_destination", "result_line", "url_destination", "write"),
    },
)
