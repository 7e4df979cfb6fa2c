"""image: a prompt, or a picture and what to change about it, in; pictures out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchq.core.pictures import put_aside
from batchq.core.records import Answer
from batchq.errors import Unavailable
from batchq.operations.base import Call
from batchq.operations.generate import Generate
from batchq.providers.base import Request

MODEL = "gemini-2.5-flash-image"
MODALITIES = "response_modalities"


class Image(Generate):
    """generate, of which pictures come back. They lie beside the answer, see core/pictures.py."""

    name = "image"
    default_model: str | None = MODEL

    def check_job(self, options: Mapping[str, Any], schema: Mapping[str, Any] | None) -> str | None:
        if schema is not None:
            return "image answers with pictures: leave the schema out"
        return super().check_job(options, schema)

    def run(self, call: Call) -> Answer:
        answer = super().run(call)
        try:
            response, files = put_aside(answer.response)
        except ValueError as exc:
            raise Unavailable(
                f"the answer cannot be read: {exc}", kind="UNREADABLE", usage=answer.usage
            ) from exc
        if not files:
            said = f": {answer.text[:200]}" if answer.text else ""
            raise Unavailable(f"the model drew nothing{said}", kind="NO_IMAGE", usage=answer.usage)
        return Answer(response, answer.text, None, answer.usage, answer.model, files)

    def request(self, call: Call, model: str) -> Request:
        asked = super().request(call, model)
        return Request(asked.contents, {MODALITIES: ["IMAGE"], **asked.config})
