"""What to read: the record that the command line and the client fill in."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("gemini", "openai", "batchq", "csv", "parquet", "text", "files")
OUTPUT_FORMATS = ("jsonl", "json", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Where the items come from and how to read them."""

    source: str  # a path, a folder, a file's address, a database's, or "-" for standard input
    format: str | None = None  # one of FORMATS; None: by suffix, for "-" by the first line
    prompt: str | None = None  # a template, see template.py; None: the rows name their own prompt
    id_field: str | None = (
        None  # the field that holds the id; None: id, key or custom_id, else the row number
    )
    glob: str | None = None  # of a folder's files; None: all of them
    operation: str | None = None  # of the job; a folder to `review` is a tree of source code
    query: str | None = None  # what a database is asked, and only a database
    folder: str | None = None  # that relative files of a list lie in; None: the list's own
    apart: bool = False  # an address is read by a process of its own, see fetch.py
    roots: tuple[str, ...] = ()  # folders, beside the list's own, whose files a list may name
