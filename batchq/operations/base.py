"""What an operation is: the contract between the walk of an item and what is done to it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from batchq.core.records import Answer


@dataclass(frozen=True, slots=True)
class Blob:
    """A file's bytes, resolved and checked by the walk before the operation runs."""

    name: str
    data: bytes = field(repr=False)


class Uploads(Protocol):
    """Files that lie at the provider: each content once, whichever items and jobs need it."""

    def put(self, data: bytes, kind: str) -> str:
        """Where it lies; it is uploaded unless it was. `kind` is its MIME type. Raises ProviderError."""

    def lost(self, uri: str) -> None:
        """The provider has it no more: whoever needs it next uploads it anew."""


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one item.

    `input` is the item's, `options` and `schema` the job's. `blob` holds the bytes where the input names a
    file. `timeout_s` is the overall deadline of the attempt, at which the walk ends it. `uploads` is for files that
    a request cannot hold; None: there is no place for them.
    """

    item_id: str
    input: Mapping[str, Any] = field(repr=False)
    model: str | None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    schema: Mapping[str, Any] | None = field(default=None, repr=False)
    blob: Blob | None = None
    timeout_s: float = 120.0
    attempt: int = 1
    uploads: Uploads | None = field(default=None, repr=False)


class Operation(Protocol):
    """Done to each item of a job. One instance a process, shared by all its tasks: keep no state in it."""

    name: str
    default_model: str | None  # None: the operation takes no model, and no quota of one
    default_schema: Mapping[str, Any] | None  # of answers, where the job names none
    needs_provider: bool  # asks Gemini, so key and model are checked before anything is stored

    def check(self, input: Mapping[str, Any], model: str | None) -> str | None:
        """Say what is wrong with an item's input before it is stored, or None. `model` is the item's.

        Called at submit; no I/O. A file has been checked by then (`input["file"]` is a FileRef's wire form).
        """

    def check_file(self, blob: Blob) -> str | None:
        """Say what is wrong with an item's file, by its bytes, or None. Called at submit, before `check`."""

    def check_job(self, options: Mapping[str, Any], schema: Mapping[str, Any] | None) -> str | None:
        """Say what is wrong with the job's options and schema, or None."""

    def run(self, call: Call) -> Answer:
        """Do it. Raises ProviderError (Throttled, Unavailable, Rejected, Fatal) and nothing foreign."""


@runtime_checkable
class UploadingOperation(Operation, Protocol):
    """One whose requests may name files that lie at the provider."""

    def upload(self, call: Call) -> None:
        """Upload now what a request of this call would not hold. Raises as `run` does."""


@runtime_checkable
class PackedOperation(Operation, Protocol):
    """One of which many items share a call; the provider counts each of them as a request."""

    pack: int  # items of one call at most

    def together(self, call: Call) -> Hashable:
        """What calls must have in common to be made as one."""

    def run_pack(self, calls: Sequence[Call]) -> Sequence[Answer]:
        """All in one call: an answer for each, in order. Raises as `run` does, for all of them alike."""
