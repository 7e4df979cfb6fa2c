"""Walks a request as Gemini's front end does, and keeps the first thing it would refuse."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from batchq.core.tokens import of_audio
from batchq.emulator.answers import text_tokens
from batchq.emulator.refusals import Refusal, invalid, unknown_field
from batchq.emulator.wire_fields import CONTENT_FIELDS, PART_DATA, PART_FIELDS, SCHEMA_FIELDS, SNAKE_OF
from batchq.operations import recordings

IMAGE_TOKENS = 258  # a tile; each image is counted as one
PAGE_TOKENS = 258
VIDEO_TOKENS_S = 32
VIDEO_BYTES_S = 16_000  # a guess

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
READ = frozenset(
    {"application/pdf", "application/x-javascript", "application/x-python", "application/rtf", "text/rtf"}
    | {"text/plain", "text/html", "text/css", "text/javascript", "text/x-typescript", "text/x-python"}
    | {"text/csv", "text/markdown", "text/md", "text/xml"}
)

# (name, lowest, highest) of the numbers that Gemini checks; whole ones where the bounds are
RANGES = (
    ("temperature", 0.0, 2.0),
    ("topP", 0.0, 1.0),
    ("candidateCount", 1, 8),
    ("maxOutputTokens", 1, 2**31 - 1),
)
MOST_STOPS = 5


@dataclass(slots=True)
class Content:
    """One content, or the contents of one conversation: its texts joined, its media digested."""

    texts: list[str] = field(default_factory=list)
    media: list[bytes] = field(default_factory=list)  # sha-256 of the bytes
    tokens: dict[str, int] = field(default_factory=dict)  # by modality

    @property
    def prompt(self) -> str:
        return "\n".join(self.texts)

    @property
    def token_count(self) -> int:
        return sum(self.tokens.values())

    @property
    def token_details(self) -> list[dict[str, Any]]:
        return [{"modality": kind, "tokenCount": count} for kind, count in self.tokens.items()]

    def add(self, kind: str, tokens: int) -> None:
        self.tokens[kind] = self.tokens.get(kind, 0) + tokens


Files = Callable[[str], tuple[bytes, dict[str, int]]]  # name → digest and tokens; raises Refusal
_FILE_URI = re.compile(r"/files/([a-z0-9-]+)$")


class Reader:
    """Walks a request and keeps the first problem."""

    def __init__(self, files: Files | None = None) -> None:
        self.problem: Refusal | None = None
        self._files = files

    def complain(self, problem: Refusal) -> None:
        self.problem = self.problem or problem

    def named(self, raw: dict[str, Any], known: Mapping[str, str], at: str) -> dict[str, Any]:
        fields = {}
        for name, value in raw.items():
            camel = known.get(name)
            if camel is None:
                self.complain(unknown_field(name, at))
            elif value is not None:
                fields[camel] = value
        return fields

    def contents(
        self, raw: Any, into: Content, of: str = "GenerateContentRequest.contents", any_role: bool = False
    ) -> None:
        if not isinstance(raw, list) or not raw or raw == [None]:
            self.complain(invalid(f"* {of}: contents is not specified\n"))
            return
        for index, content in enumerate(raw):
            if not isinstance(content, dict):
                self.complain(invalid(f"Invalid value at 'contents[{index}]'"))
                continue
            for name in content:
                if name not in CONTENT_FIELDS:
                    self.complain(unknown_field(name, f"contents[{index}]"))
            if content.get("role") not in (None, "", "user", "model", "function", "system") and not any_role:
                self.complain(invalid("Please use a valid role: user, model."))
            parts = content.get("parts")
            if not isinstance(parts, list) or not parts:
                self.complain(invalid(f"* {of}[{index}].parts: contents.parts must not be empty.\n"))
                continue
            for place, part in enumerate(parts):
                self.part(part, into, f"{of}[{index}].parts[{place}]")

    def part(self, part: Any, into: Content, where: str) -> None:
        if not isinstance(part, dict):
            self.complain(invalid(f"Invalid value at '{where}'"))
            return
        text = part.get("text")
        if text is not None and len(part) == 1:  # nearly all of them
            self.text(text, into, where)
            return
        for name in part:
            if name not in PART_FIELDS:
                self.complain(unknown_field(name, where))
        data = {
            PART_DATA[name]: value for name, value in part.items() if name in PART_DATA and value is not None
        }
        if len(data) != 1:
            self.complain(
                invalid(f"* {where}.data: required oneof field 'data' must have one initialized field\n")
            )
        for kind, value in data.items():
            if kind == "text":
                self.text(value, into, where)
            elif kind == "inlineData":
                self.inline(value, into, where)
            elif kind == "fileData":
                self.file(value, into)
            else:
                into.add("TEXT", text_tokens(len(json.dumps(value))))

    def text(self, text: Any, into: Content, where: str) -> None:
        if not isinstance(text, str):
            self.complain(invalid(f"Invalid value at '{where}.text' (TYPE_STRING), {json.dumps(text)}"))
            return
        into.texts.append(text)
        into.add("TEXT", text_tokens(len(text)))

    def inline(self, blob: Any, into: Content, where: str) -> None:
        blob = blob if isinstance(blob, dict) else {}
        kind = blob.get("mimeType", blob.get("mime_type"))
        data = _decoded(blob.get("data"))
        if data is None:
            self.complain(
                invalid(f"Invalid value at '{where}.inline_data.data' (TYPE_BYTES), Base64 decoding failed")
            )
            data = b""
        into.media.append(sha256(data).digest())
        self.bytes_of(data, kind, into, where)

    def file(self, named: Any, into: Content) -> None:
        """A file of the Files API is read as if its bytes were inlined; what lies elsewhere is taken for an image."""
        uri = str(named.get("fileUri", named.get("file_uri"))) if isinstance(named, dict) else ""
        found = _FILE_URI.search(uri)
        if found is None or self._files is None:
            into.media.append(sha256(json.dumps(named, sort_keys=True).encode()).digest())
            into.add("IMAGE", IMAGE_TOKENS)
            return
        try:
            digest, tokens = self._files(found[1])
        except Refusal as refusal:
            self.complain(refusal)
            return
        into.media.append(digest)
        for kind, count in tokens.items():
            into.add(kind, count)

    def bytes_of(self, data: bytes, kind: Any, into: Content, where: str = "file") -> None:
        if not isinstance(kind, str) or not kind:
            self.complain(invalid(f"* {where}.inline_data.mime_type: mime_type must be specified\n"))
        elif kind in IMAGES:
            if not _is_image(data):
                self.complain(
                    invalid(
                        "Unable to process input image. Please retry or report in "
                        "https://developers.generativeai.google/guide/troubleshooting"
                    )
                )
            into.add("IMAGE", IMAGE_TOKENS)
        elif kind == "application/pdf":
            pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", data)) if b"%PDF-" in data[:1024] else 0
            if not pages and b"/ObjStm" not in data:  # where they may lie packed
                self.complain(invalid("The document has no pages."))
            into.add("DOCUMENT", PAGE_TOKENS * max(1, pages))
        elif kind.startswith("audio/"):
            try:
                into.add("AUDIO", of_audio(len(data), recordings.seconds(data)))
            except ValueError:
                self.complain(invalid("Unable to process input audio."))
        elif kind.startswith("video/"):
            into.add("VIDEO", VIDEO_TOKENS_S * max(1, len(data) // VIDEO_BYTES_S))
        elif kind in READ:
            into.add("TEXT", text_tokens(len(data)))
        else:
            self.complain(invalid(f"Unsupported MIME type: {kind}"))

    def config(self, config: dict[str, Any]) -> None:
        for name, low, high in RANGES:
            self.number(config, name, low, high)
        stops = config.get("stopSequences")
        if stops is not None and not (
            isinstance(stops, list)
            and len(stops) <= MOST_STOPS
            and all(isinstance(one, str) for one in stops)
        ):
            self.complain(invalid("Invalid value at 'generation_config.stop_sequences'"))
        thinking = config.get("thinkingConfig")
        if thinking is not None and not isinstance(thinking, dict):
            self.complain(invalid("Invalid value at 'generation_config.thinking_config'"))
        self.schema(config)

    def number(self, config: dict[str, Any], name: str, low: float, high: float) -> None:
        value, path = config.get(name), f"generation_config.{SNAKE_OF[name]}"
        if value is None:
            return
        kinds = int if isinstance(low, int) else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            self.complain(invalid(f"Invalid value at '{path}', {json.dumps(value)}"))
        elif not low <= value <= high:
            said = f"{SNAKE_OF[name]} must be in the range [{low}, {high}]"
            self.complain(invalid(f"* GenerateContentRequest.{path}: {said}\n"))

    def schema(self, config: dict[str, Any]) -> None:
        for name in ("responseSchema", "responseJsonSchema"):
            given = config.get(name)
            if given is None:
                continue
            if not isinstance(given, dict):
                self.complain(invalid(f"Invalid value at 'generation_config.{SNAKE_OF[name]}'"))
                del config[name]
            elif config.get("responseMimeType") not in ("application/json", "text/x.enum"):
                self.complain(
                    invalid(
                        f"* GenerateContentRequest.generation_config.{SNAKE_OF[name]}: only allowed for response "
                        "MIME types application/json and text/x.enum\n"
                    )
                )
            elif name == "responseSchema":
                self.known_keywords(given, f"generation_config.{SNAKE_OF[name]}")

    def known_keywords(self, schema: Any, at: str, depth: int = 0) -> None:
        """responseSchema is a message of its own with fixed fields, unlike responseJsonSchema."""
        if not isinstance(schema, dict) or depth > 60:
            return
        for name, value in schema.items():
            if name not in SCHEMA_FIELDS:
                self.complain(unknown_field(name, at))
            elif name == "properties" and isinstance(value, dict):
                for index, one in enumerate(value.values()):
                    self.known_keywords(one, f"{at}.properties[{index}].value", depth + 1)
            elif name in ("items", "additionalProperties"):
                self.known_keywords(value, f"{at}.{name}", depth + 1)
            elif name in ("anyOf", "any_of", "prefixItems", "prefix_items") and isinstance(value, list):
                for index, one in enumerate(value):
                    self.known_keywords(one, f"{at}.{name}[{index}]", depth + 1)


def _decoded(data: Any) -> bytes | None:
    """Standard or URL-safe base64, padded or not, as protobuf's JSON takes it; None: it is none."""
    if not isinstance(data, str):
        return None
    try:
        padded = data + "=" * (-len(data) % 4)
        if "-" in data or "_" in data:
            padded = padded.replace("-", "+").replace("_", "/")
        return base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_image(data: bytes) -> bool:
    return (
        data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or (data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"heim"))
    )
