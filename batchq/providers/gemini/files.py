"""Gemini's Files API: what is too large for a request is uploaded, and requests name it. Developer API only.

A file lies there for 48 hours, at no cost; 2 GB a file, 20 GB a project. Uploads are no requests to a model.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchq.core.records import JsonObject
from batchq.errors import Rejected, Throttled, Unavailable, Unsendable
from batchq.providers.base import Uploaded

if TYPE_CHECKING:
    from google import genai

POLL_S = 0.5  # while the provider looks through a file
ALREADY_THERE = 409
GONE = (403, 404)  # a file that is not there is forbidden

Ask = Callable[[Callable[["genai.Client"], Any], float], JsonObject]


def upload(ask: Ask, name: str, data: bytes, kind: str, timeout_s: float) -> Uploaded:
    """`ask` makes one call of google-genai's client and gives the answer's JSON. Raises ProviderError."""
    ends = time.monotonic() + timeout_s

    def put(client: genai.Client) -> None:
        client.files.upload(file=io.BytesIO(data), config={"name": name, "mime_type": kind})

    def look(client: genai.Client) -> None:
        client.files.get(name=name)

    try:
        file = ask(put, timeout_s)
    except Throttled as exc:  # for the project's storage: no quota of a model, so none is held for it
        raise Unavailable(exc.message, code=exc.code, kind=exc.kind) from exc
    except Rejected as exc:
        if exc.code != ALREADY_THERE:
            raise
        file = ask(look, ends - time.monotonic())
    while True:
        file = file.get("file", file)
        if file.get("state") == "FAILED":
            raise Unsendable("Gemini cannot read the uploaded file", kind="FILE_UNREADABLE")
        if file.get("state") in ("ACTIVE", None):
            return _uploaded(file)
        left = ends - time.monotonic()
        if left <= POLL_S:
            raise Unavailable("the uploaded file was not ready before the deadline", kind="TIMEOUT")
        time.sleep(POLL_S)
        file = ask(look, left - POLL_S)


def delete(ask: Ask, name: str, timeout_s: float) -> None:
    def remove(client: genai.Client) -> None:
        client.files.delete(name=name)

    try:
        ask(remove, timeout_s)
    except Rejected as exc:
        if exc.code not in GONE:
            raise


def _uploaded(file: JsonObject) -> Uploaded:
    try:
        expires = datetime.fromisoformat(str(file["expirationTime"]))
        return Uploaded(str(file["uri"]), int(expires.timestamp() * 1000))
    except (KeyError, ValueError) as exc:
        raise Unavailable(f"the answer has not the shape of a file: {exc}", kind="UNREADABLE") from exc
