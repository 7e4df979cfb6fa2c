"""What a provider is: the contract between operations and whoever answers them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from batchq.core.records import JsonObject


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a generating model.

    `contents` are Gemini's Content objects, in camelCase or snake_case; `inlineData.data` may be bytes or
    base64 text. `config` holds GenerateContentConfig fields (`temperature`, `system_instruction`,
    `response_json_schema`, …) by their snake_case names.
    """

    contents: Sequence[Mapping[str, Any]] = field(repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class TextsToEmbed:
    """One call to an embedding model. `config` holds EmbedContentConfig fields by their snake_case names."""

    texts: Sequence[str] = field(repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of an answer, in the order of the texts. `tokens` of each text; empty where only their sum is
    told."""

    vectors: Sequence[Sequence[float]] = field(repr=False)
    tokens: Sequence[int] = ()
    total_tokens: int = 0  # 0: not told


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that lies at the provider, ready to be named in requests of its project."""

    uri: str
    expires_ms: int  # Unix time at which the provider deletes it by itself


class Provider(Protocol):
    """Answers calls. One instance a process, shared by all its tasks; safe in threads, greenlets, forks."""

    @property
    def project(self) -> str:
        """Whose quota the calls count against; never a secret."""

    def generate(self, model: str, request: Request, *, timeout_s: float) -> JsonObject:
        """The provider's answer as it stood on the wire (GenerateContentResponse in camelCase).

        One call makes at most one HTTP request and ends within `timeout_s`, whatever the network does.
        Raises ProviderError (Throttled, Unavailable, Rejected, Fatal) and nothing foreign. An answer that
        was blocked, cut off or is empty is no error here: see operations/answers.py.
        """

    def embed(self, model: str, asked: TextsToEmbed, *, timeout_s: float) -> Embedded:
        """Vectors, as many as the answer has. As `generate` else."""

    def upload(self, name: str, data: bytes, kind: str, *, timeout_s: float) -> Uploaded:
        """Put a file where requests can name it, and wait until they can. `name` is letters, digits and dashes; a
        file that has it already is taken for this one. Raises Unsendable where there is no such place."""

    def delete_file(self, name: str, *, timeout_s: float) -> None:
        """Delete an uploaded file; one that is not there is deleted."""

    def warm(self) -> None:
        """Make ready what the first call would wait for. Raises nothing."""

    def preflight(self, models: Iterable[str]) -> None:
        """Ask for each model before anything is stored.

        Raises Fatal (bad key, unknown model; the message names it) or Unavailable (could not be asked).
        """

    def close(self) -> None:
        """Close the connections. Calling it twice is fine; a later call opens new ones."""


@lru_cache(maxsize=1_000)  # each item's options have the names of the last one's
def snake(name: str) -> str:
    """A wire name (camelCase) as Request.config has it; snake_case stays as it is."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), name)
