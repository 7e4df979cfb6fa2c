"""What a submission asks for, and what it is answered."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from batchq.core.records import JsonObject
from batchq.errors import Complaint

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
FilesMode = Literal["path", "inline"]


@dataclass(frozen=True, slots=True)
class Submission:
    """What a job is to be, apart from its items. None: the default, or no limit."""

    operation: str = "generate"
    model: str | None = None
    options: JsonObject = field(default_factory=dict)
    schema: JsonObject | None = None
    job_id: str | None = None
    idempotency_key: str | None = None
    priority: int = 5
    rpm: int | None = None
    concurrency: int | None = None
    tpm: int | None = None
    deadline: float | None = None  # Unix seconds
    metadata: JsonObject = field(default_factory=dict)
    retention_ms: int = 0  # after the end; 0: for ever
    files: FilesMode = "inline"
    strict: bool = False  # items with a problem refuse the submission too
    skip_bad: bool = False  # lines that break the list become failed items
    project: str | None = None  # the only one whose workers may ask its models; None: whichever
    source: str = ""  # what the user named, for lists and messages


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stored job. `problems` are the items that failed already, the first 20 of `failed`."""

    job_id: str
    total: int
    failed: int
    problems: tuple[Complaint, ...]
    existed: bool  # the same submission was accepted before
