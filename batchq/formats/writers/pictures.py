"""Pictures of answers as files beside the results, named after their items.

They are written into a folder aside and moved when the results are whole, so that results that break off leave none.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchq.core.pictures import STORED, changed, stored_in
from batchq.core.records import JsonObject, Result

SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/svg+xml": ".svg",
}  # else .png
LONGEST = 80  # characters of an id in a file's name
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9._-]*")


class Pictures:
    """Those of one file of results, OUT: `a/b.jsonl` has them in `a/b-images/`. `out` None: there is no place beside
    it, and they stand in the lines as base64."""

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self._aside: Path | None = None
        self._folder = None if out is None else out.parent / f"{out.stem}-images"

    def placed(self, results: Iterable[Result]) -> Iterator[Result]:
        """The same results, whose responses say where the pictures lie."""
        for result in results:
            yield self._place(result) if stored_in(result.response) and result.file else result

    def keep(self) -> None:
        """The results are whole: each picture goes to its place, over one of the same name."""
        if self._aside is None or self._folder is None:
            return
        self._folder.mkdir(exist_ok=True)
        for path in self._aside.iterdir():
            path.replace(self._folder / path.name)
        self._aside.rmdir()
        self._aside = None

    def drop(self) -> None:
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)

    def _place(self, result: Result) -> Result:
        names: list[str] = []

        def put(part: Mapping[str, Any]) -> JsonObject | None:
            blob = part.get(STORED)
            if blob is None or result.file is None:
                return None
            kind, data = str(blob["mimeType"]), result.file(str(blob["sha256"]))
            rest = {name: value for name, value in part.items() if name != STORED}
            if self._folder is None:
                return {**rest, "inlineData": {"mimeType": kind, "data": base64.b64encode(data).decode()}}
            names.append(self._write(result.id, len(names), kind, data))
            return {**rest, "fileData": {"mimeType": kind, "fileUri": names[-1]}}

        response = changed(result.response or {}, put)
        return replace(result, outcome=replace(result.outcome, response=response))

    def _write(self, item_id: str, number: int, kind: str, data: bytes) -> str:
        assert self._folder is not None
        if self._aside is None:
            self._aside = self._folder.parent / f".batchq-{secrets.token_hex(8)}.part"
            self._aside.mkdir(parents=True)
        name = file_name(item_id, number, kind)
        with (self._aside / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return f"{self._folder.name}/{name}"


def file_name(item_id: str, number: int, kind: str) -> str:
    """Of the `number`th picture of an item: its id where that is a plain name, else what is left of it and a digest.

    No two items share one, also where upper and lower case are alike; none leads out of its folder or is hidden.
    """
    stem = item_id
    if not _PLAIN.fullmatch(item_id) or len(item_id) > LONGEST:
        readable = re.sub(r"[^\w.-]+", "_", item_id)[:LONGEST].strip("._-") or "item"
        stem = f"{readable}-{hashlib.sha256(item_id.encode()).hexdigest()[:10]}"
    return f"{stem}{f'.{number + 1}' if number else ''}{SUFFIXES.get(kind, '.png')}"
