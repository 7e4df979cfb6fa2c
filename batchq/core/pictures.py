"""Pictures that a model drew: kept beside their answers, which name them by sha-256.

An answer of two megabytes of base64 would make every shard of outcomes, and whoever reads one, as large as two hundred
of them. In a stored response a picture's part is `storedData`; who reads results gets the bytes one by one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

STORED = "storedData"


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture beside an answer."""

    kind: str  # MIME type
    sha256: str
    size: int  # bytes

    def part(self) -> dict[str, Any]:
        return {STORED: {"mimeType": self.kind, "sha256": self.sha256, "size": self.size}}


def put_aside(response: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The response without its pictures' bytes, and these by sha-256. Raises ValueError for what is no base64."""
    files: dict[str, bytes] = {}

    def change(part: Mapping[str, Any]) -> dict[str, Any] | None:
        blob = part.get("inlineData")
        if not isinstance(blob, Mapping) or not str(blob.get("mimeType", "")).startswith("image/"):
            return None
        try:
            data = base64.b64decode(str(blob.get("data", "")), validate=True)
        except binascii.Error as exc:
            raise ValueError("a picture is no base64") from exc
        stored = Stored(str(blob["mimeType"]), hashlib.sha256(data).hexdigest(), len(data))
        files[stored.sha256] = data
        return {**{name: value for name, value in part.items() if name != "inlineData"}, **stored.part()}

    return changed(response, change), files


def stored_in(response: Mapping[str, Any] | None) -> list[Stored]:
    """A response's pictures, in order."""
    found: list[Stored] = []

    def look(part: Mapping[str, Any]) -> None:
        blob = part.get(STORED)
        if blob is not None:
            found.append(Stored(str(blob["mimeType"]), str(blob["sha256"]), int(blob["size"])))

    if response is not None and "candidates" in response:
        changed(response, look)
    return found


def changed(
    response: Mapping[str, Any], change: Callable[[Mapping[str, Any]], dict[str, Any] | None]
) -> dict[str, Any]:
    """The response with parts replaced for which `change` gives another."""
    candidates = []
    for candidate in response.get("candidates") or ():
        content = candidate.get("content") or {}
        if not content.get("parts"):
            candidates.append(candidate)
            continue
        parts = [change(part) or part for part in content["parts"]]
        candidates.append({**candidate, "content": {**content, "parts": parts}})
    return {**response, "candidates": candidates} if candidates else dict(response)
