"""The parts of a message: text, images, sound and files as bytes."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from typing import Any

from batchq.core.records import JsonObject
from batchq.formats.openai.draft import invalid, list_at, object_at, only, text_at, unsupported
from batchq.formats.words import shown_json

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,", re.ASCII)
_AUDIO = {"wav": "audio/wav", "mp3": "audio/mp3"}
_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


def parts_at(content: Any, where: str) -> list[JsonObject]:
    """Gemini's parts of a `content`: a text, or a list of parts."""
    if isinstance(content, str):
        return [{"text": content}]
    return [_part(one, f"{where}[{index}]") for index, one in enumerate(list_at(content, where))]


def texts_at(content: Any, where: str) -> list[str]:
    """The texts of a `content` that may hold nothing else (the system's)."""
    parts = parts_at(content, where)
    for index, part in enumerate(parts):
        if "text" not in part:
            raise unsupported(f"{where}[{index}]", "is no text: instructions of the system are text only")
    return [part["text"] for part in parts]


def _part(raw: Any, where: str) -> JsonObject:
    part = object_at(raw, where)
    kind = part.get("type")
    if isinstance(kind, str) and kind in _TEXTS:
        only(part, ("type", _TEXTS[kind], "annotations", "logprobs"), where)
        return {"text": text_at(part.get(_TEXTS[kind]), f"{where}.{_TEXTS[kind]}")}
    if kind == "image_url":
        only(part, ("type", "image_url"), where)
        where += ".image_url"
        image = object_at(part.get("image_url"), where)
        only(image, ("url", "detail"), where)
        return _of_data_url(text_at(image.get("url"), f"{where}.url"), f"{where}.url")
    if kind == "input_image":
        only(part, ("type", "image_url", "detail"), where)
        return _of_data_url(text_at(part.get("image_url"), f"{where}.image_url"), f"{where}.image_url")
    if kind == "input_audio":
        only(part, ("type", "input_audio"), where)
        return _audio(part.get("input_audio"), f"{where}.input_audio")
    if kind == "file":
        only(part, ("type", "file"), where)
        return _file(part.get("file"), f"{where}.file", ("file_data", "filename"))
    if kind == "input_file":
        return _file(part, where, ("type", "file_data", "filename"))
    raise unsupported(f"{where}.type", f"is {shown_json(kind)}, which has no counterpart at Gemini")


def _of_data_url(url: str, where: str) -> JsonObject:
    found = _DATA_URL.match(url)
    if found is None:
        raise unsupported(
            where, "is an address, and nothing is fetched: give the bytes as data:image/png;base64,…"
        )
    return _inline(found[1], url[found.end() :], where)


def _audio(raw: Any, where: str) -> JsonObject:
    audio = object_at(raw, where)
    only(audio, ("data", "format"), where)
    form = text_at(audio.get("format"), f"{where}.format")
    if form not in _AUDIO:
        raise unsupported(f"{where}.format", f"is {shown_json(form)}: wav and mp3 are known")
    return _inline(_AUDIO[form], text_at(audio.get("data"), f"{where}.data"), f"{where}.data")


def _file(raw: Any, where: str, known: tuple[str, ...]) -> JsonObject:
    file = object_at(raw, where)
    for name in ("file_id", "file_url"):
        if file.get(name) is not None:
            raise unsupported(f"{where}.{name}", "cannot be fetched: give the bytes as file_data")
    only(file, known, where)
    data = text_at(file.get("file_data"), f"{where}.file_data")
    where += ".file_data"
    if data.startswith("data:"):
        return _of_data_url(data, where)
    mime = mimetypes.guess_type(str(file.get("filename")))[0]
    if mime is None:
        raise invalid(where, "does not say what it is: give data:application/pdf;base64,…, or a filename")
    return _inline(mime, data, where)


def _inline(mime: str, data: str, where: str) -> JsonObject:
    try:
        if not base64.b64decode(data, validate=True):
            raise invalid(where, "is empty")
    except (binascii.Error, ValueError):
        raise invalid(where, "is no base64") from None
    return {"inlineData": {"mimeType": mime, "data": data}}
