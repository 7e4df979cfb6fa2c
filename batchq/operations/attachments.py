"""What is too large for a request goes to the provider beside it, and the request names where it lies."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from batchq.core.records import JsonObject
from batchq.operations.base import Uploads

MOST_IN_REQUEST = (
    19_000_000  # bytes of its contents on the wire; Gemini takes 20 MB with all that stands around them
)
MOST_INLINE = 14_000_000  # bytes of a file that surely fits: base64 makes four of three


def outsourced(contents: Sequence[Mapping[str, Any]], uploads: Uploads | None) -> list[Mapping[str, Any]]:
    """The contents, their largest files uploaded until the rest fits into a request. Raises ProviderError."""
    if uploads is None or not any(_blob(part) for content in contents for _, part in _parts(content)):
        return list(contents)
    sizes = [
        (_size(part), index, at) for index, content in enumerate(contents) for at, part in _parts(content)
    ]
    over = sum(size for size, *_ in sizes) - MOST_IN_REQUEST
    if over <= 0:
        return list(contents)
    changed = [{**content, "parts": list(content.get("parts") or ())} for content in contents]
    for size, index, at in sorted(sizes, reverse=True):
        blob = _blob(changed[index]["parts"][at])
        if over <= 0 or blob is None:
            break
        kind = str(blob.get("mimeType") or blob.get("mime_type") or "")
        uri = uploads.put(_bytes(blob["data"]), kind)
        changed[index]["parts"][at] = {"fileData": {"mimeType": kind, "fileUri": uri}}
        over -= size
    return list(changed)


def addresses(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the files lie that contents name."""
    named = [part.get("fileData") for content in contents for _, part in _parts(content)]
    return [str(one["fileUri"]) for one in named if isinstance(one, Mapping) and "fileUri" in one]


def _parts(content: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    parts = content.get("parts")
    return (
        [(at, part) for at, part in enumerate(parts) if isinstance(part, Mapping)]
        if isinstance(parts, list)
        else []
    )


def _size(part: Mapping[str, Any]) -> int:
    blob = _blob(part)
    if blob is not None:
        data = blob["data"]
        return len(data) if isinstance(data, str) else 4 * -(-len(data) // 3)
    return len(str(part.get("text") or "").encode("utf-8", "replace"))


def _blob(part: Mapping[str, Any]) -> JsonObject | None:
    blob = part.get("inlineData") or part.get("inline_data")
    return dict(blob) if isinstance(blob, Mapping) and blob.get("data") else None


def _bytes(data: str | bytes) -> bytes:
    if isinstance(data, bytes):
        return data
    return base64.b64decode(data.replace("-", "+").replace("_", "/") + "=" * (-len(data) % 4))
