"""The records that travel between the parts: frozen, plain, with a wire form where they are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchq.core.lifecycle import ItemState

Json = Any  # a value that json.dumps takes
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why an item did not succeed, as the results show it.

    `code` is the provider's HTTP status, 0 for errors of our own; `status` a word of the documented list
    (docs/results.md): the provider's (`INVALID_ARGUMENT`, …) or ours (`SCHEMA_MISMATCH`, `BLOCKED`, …).
    """

    code: int
    status: str
    message: str

    def wire(self) -> JsonObject:
        return {"code": self.code, "status": self.status, "message": self.message}

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> ErrorInfo:
        return cls(int(raw.get("code", 0)), str(raw.get("status", "UNKNOWN")), str(raw.get("message", "")))


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of work as submitted.

    `input` is what the operation takes: `{"prompt"}`, `{"messages"}`, `{"text"}`, `{"file"}` (a path, or a
    FileRef's wire form once checked), `{"request"}` (a GenerateContentRequest), or a user's own fields.
    `operation` None means the job's. `problem` is set by a reader for an item that cannot be sent; it is
    stored as failed before any call. `place` says where it stood ("line 17"), for messages; None: unknown.
    """

    id: str
    input: Mapping[str, Any]
    operation: str | None = None
    problem: ErrorInfo | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file an item needs: read by path on the worker, or stored in the job as bytes."""

    name: str  # as the user named it, relative where INPUT is a folder
    sha256: str  # taken at submit; the content must still have it at its turn
    size: int  # bytes
    path: str | None  # absolute; None: the bytes are stored in the job under their digest

    def wire(self) -> JsonObject:
        raw: JsonObject = {"name": self.name, "sha256": self.sha256, "size": self.size}
        if self.path is not None:
            raw["path"] = self.path
        return raw

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> FileRef:
        return cls(str(raw["name"]), str(raw["sha256"]), int(raw["size"]), raw.get("path"))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more calls, as the provider counts them for its bill.

    `input_tokens` includes cached ones; `output_tokens` is candidates + thoughts, those of drawn images among them.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    image_tokens: int = 0  # of the output, which have a price of their own
    audio_tokens: int = 0  # of the input, likewise

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.image_tokens + other.image_tokens,
            self.audio_tokens + other.audio_tokens,
        )

    def wire(self) -> list[int]:
        media = [self.image_tokens, self.audio_tokens] if self.image_tokens or self.audio_tokens else []
        return [self.input_tokens, self.output_tokens, self.cached_tokens, *media]


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation made of one item.

    `response` is what the results file shows (GenerateContentResponse in camelCase for Gemini's own).
    `data` is the parsed answer where the job asked for JSON, or a user's own operation's return value;
    None otherwise. `files` are what is too large to lie in the response, by sha-256: see core/pictures.py.
    """

    response: JsonObject
    text: str | None = None
    data: Json = None
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


REDRIVEN = "REDRIVEN"  # status of the line that take.lua puts first in the history of a redriven item
KEPT_ATTEMPTS = 20  # lines of a history that outlive a redrive, the newest


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of an item's history: a call that did not end well, or the redrive after the calls before it."""

    at_ms: int  # Unix time
    duration_ms: int
    error: ErrorInfo
    usage: Usage = NO_USAGE  # of an answer that was no good

    def wire(self) -> list[Any]:
        raw: list[Any] = [self.at_ms, self.duration_ms, *self.error.wire().values()]
        return raw if self.usage == NO_USAGE else [*raw, self.usage.wire()]

    @classmethod
    def from_wire(cls, raw: list[Any]) -> Attempt:
        error = ErrorInfo(int(raw[2]), str(raw[3]), str(raw[4]))
        return cls(int(raw[0]), int(raw[1]), error, Usage(*raw[5]) if len(raw) > 5 else Usage())

    @property
    def is_redrive(self) -> bool:
        return self.error.status == REDRIVEN


History = tuple[Attempt, ...]


def joined(earlier: History, later: History) -> History:
    """An item's history over its redrives. `later` begins with the last one, else there was none; `earlier` may
    hold `later` already."""
    if not later or not later[0].is_redrive:
        return later
    if earlier[-len(later) :] == later:
        return earlier
    return (*earlier, *later)[-KEPT_ATTEMPTS:]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an item ended. Stored once, compressed with its shard; also what a results line shows."""

    status: ItemState
    response: JsonObject | None = None
    error: ErrorInfo | None = None
    attempts: int = 0
    duration_ms: int = 0  # of the last call
    waited_ms: int = 0  # for permits and rate limits, in all
    rate_limited: int = 0  # refusals for rate, not counted as attempts
    model: str | None = None
    usage: Usage = field(default_factory=Usage)  # of every answered attempt since the last redrive
    cost_usd: float | None = None  # of the same; None: no price is known for the model
    structured: bool = False  # the text is JSON that fits the job's schema
    history: tuple[Attempt, ...] = ()

    def wire(self) -> JsonObject:
        raw: JsonObject = {"s": str(self.status)}
        if self.response is not None:
            raw["r"] = self.response
        if self.error is not None:
            raw["e"] = self.error.wire()
        if self.usage != NO_USAGE:
            raw["u"] = self.usage.wire()
        if self.history:
            raw["h"] = [attempt.wire() for attempt in self.history]
        for key, value in (
            ("a", self.attempts),
            ("d", self.duration_ms),
            ("w", self.waited_ms),
            ("l", self.rate_limited),
            ("m", self.model),
            ("c", self.cost_usd),
            ("j", self.structured),
        ):
            if value:
                raw[key] = value
        return raw

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Outcome:
        return cls(
            status=ItemState(raw["s"]),
            response=raw.get("r"),
            error=ErrorInfo.from_wire(raw["e"]) if "e" in raw else None,
            attempts=int(raw.get("a", 0)),
            duration_ms=int(raw.get("d", 0)),
            waited_ms=int(raw.get("w", 0)),
            rate_limited=int(raw.get("l", 0)),
            model=raw.get("m"),
            usage=Usage(*raw["u"]) if "u" in raw else Usage(),
            cost_usd=raw.get("c"),
            structured=bool(raw.get("j", False)),
            history=tuple(Attempt.from_wire(line) for line in raw.get("h", ())),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """A settled item as users see it: `job.results()` yields these, in input order."""

    id: str
    index: int  # place in the input, from 0
    operation: str
    outcome: Outcome
    file: Callable[[str], bytes] | None = field(
        default=None, repr=False, compare=False
    )  # of the answer, by sha-256

    @property
    def images(self) -> list[bytes]:
        """The pictures that were drawn, read from the store when asked for. Raises NotFound once the job is gone."""
        from batchq.core.pictures import stored_in

        return [self.file(one.sha256) for one in stored_in(self.outcome.response)] if self.file else []

    @property
    def status(self) -> ItemState:
        return self.outcome.status

    @property
    def response(self) -> JsonObject | None:
        return self.outcome.response

    @property
    def error(self) -> ErrorInfo | None:
        return self.outcome.error

    @property
    def attempts(self) -> int:
        return self.outcome.attempts

    @property
    def duration_ms(self) -> int:
        return self.outcome.duration_ms

    @property
    def text(self) -> str | None:
        """The answer's text, thoughts left out; None where the response has none."""
        return text_of(self.outcome.response)

    @property
    def data(self) -> Json:
        """The parsed answer where JSON was asked for, the vector of a text, or what a user's own operation returned;
        else None."""
        import json

        response = self.outcome.response
        if response is None:
            return None
        if "output" in response and "candidates" not in response:
            return response["output"]
        if "embedding" in response:
            return response["embedding"]["values"]
        text = self.text
        return json.loads(text) if self.outcome.structured and text is not None else None


def text_of(response: Mapping[str, Any] | None) -> str | None:
    """Candidate 0's text parts, joined, thoughts left out; None where there are none."""
    candidates = (response or {}).get("candidates") or [{}]
    parts = ((candidates[0].get("content") or {}).get("parts")) or []
    texts = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    return "".join(texts) if texts else None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that did not succeed, kept with its history for review."""

    job_id: str
    id: str
    index: int
    operation: str
    status: ItemState  # failed or dead_letter
    error: ErrorInfo
    attempts: int
    history: tuple[Attempt, ...]
    input: JsonObject

    @property
    def reason(self) -> str:
        return self.error.status

    @property
    def refused_before_any_call(self) -> bool:
        """Whether the item was bad when it was submitted: a redrive cannot help it."""
        return self.attempts == 0 and not self.history

    def to_json(self) -> JsonObject:
        return {
            "job_id": self.job_id,
            "id": self.id,
            "index": self.index,
            "operation": self.operation,
            "status": str(self.status),
            "reason": self.reason,
            "error": self.error.wire(),
            "attempts": self.attempts,
            "history": [
                {"at_ms": attempt.at_ms, "duration_ms": attempt.duration_ms, "error": attempt.error.wire()}
                for attempt in self.history
            ],
            "input": self.input,
        }
