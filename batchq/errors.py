"""What batchq raises. What happens to an *item* is an Outcome, never an exception.

BatchqError
├── ConfigurationError     a setting is missing, unknown or contradicts another
├── InputError             the submission cannot become a job; nothing was stored
├── NotFound               no such job or item
├── Conflict               the request contradicts what is stored
├── NewerData              stored by a newer batchq than this one: left alone
├── StoreUnavailable       Redis did not answer or refused a write: safe to repeat the call
├── NotEnoughMemory        the server has no room for the submission; nothing was stored
├── ServerError            the embedded server cannot start, or died
├── WaitTimeout            the job did not end in time; it goes on
└── ProviderError          raised by a provider's adapter only; the walk turns it into an Outcome
    ├── Throttled          a rate limit, or no capacity
    ├── Unavailable        it may pass: 5xx, timeout, broken connection, unreadable body
    ├── Rejected           this request is refused for good
    │   └── Unsendable     by ourselves, before anything was sent
    └── Fatal              every request would be refused: key, permission, unknown model, billing
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchq.core.records import Usage


class BatchqError(Exception):
    """The root. Messages say what was wrong, where, and what to do."""


class ConfigurationError(BatchqError):
    """A setting is missing, unknown, ill-typed or contradicts another; the message names it."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that breaks a submission: where it stands, what is wrong and the remedy."""

    place: str  # "line 17", "file invoices/3.png", "item q-17"
    problem: str
    row: int = 0  # of the input, from 1; 0: the input as a whole

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


class InputError(BatchqError):
    """The list itself is broken; nothing was stored. Holds the first 20 complaints and their count."""

    shown = 20

    def __init__(self, message: str, complaints: Sequence[Complaint] = (), count: int | None = None) -> None:
        self.complaints = tuple(complaints[: self.shown])
        self.count = len(complaints) if count is None else count
        lines = [message, *(f"  {complaint}" for complaint in self.complaints)]
        if self.count > len(self.complaints) > 0:
            lines.append(f"  … and {self.count - len(self.complaints)} more")
        super().__init__("\n".join(lines))
        self._message = message

    def for_programs(self, arguments: Collection[str]) -> InputError:
        """The same, with the names of arguments for those of options: `--skip-bad` is `skip_bad` in Python."""

        def said(text: str) -> str:
            return _OPTION.sub(lambda found: _argument(found, arguments), text)

        complaints = [replace(one, problem=said(one.problem)) for one in self.complaints]
        return InputError(said(self._message), complaints, self.count)


_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)( (?='))?")


def _argument(found: re.Match[str], arguments: Collection[str]) -> str:
    name = found[1].replace("-", "_")
    return name + ("=" if found[2] else "") if name in arguments else found[0]


class NotFound(BatchqError):
    """No such job or item: never there, expired, deleted, or lost by its server."""

    @classmethod
    def job(cls, job_id: str) -> NotFound:
        return cls(
            f"no job {job_id}: never there, expired or deleted (`batchq list` shows all), or lost with its server's "
            "data; what is lost is to be submitted again"
        )


class Conflict(BatchqError):
    """The request contradicts what is stored: same id with other content, a state that does not allow it."""


class NewerData(BatchqError):
    """The job was stored by a newer batchq; this one leaves it alone."""


class StoreUnavailable(BatchqError):
    """Redis did not answer or refused to write. The call changed nothing or is safe to repeat."""


class NotEnoughMemory(BatchqError):
    """The server has no room for the submission; the message gives the figures. Nothing was stored."""


class ServerError(BatchqError):
    """The embedded server cannot start or died; the message quotes its log."""


class WaitTimeout(BatchqError):
    """The job did not end in the time given; it goes on."""


class NoWorkerWarning(UserWarning):
    """A program waits for a job whose queues no live worker consumes."""


class ProviderError(BatchqError):
    """A provider's call failed. Raised by adapters only; carries plain values, so it pickles.

    `kind` is the word of the results' error list (`RESOURCE_EXHAUSTED`, `TIMEOUT`, …), `code` the HTTP
    status or 0 for errors of our own. `usage` is what the call consumed although it did not succeed (an
    answer that was blocked, cut off or did not fit); None where nothing was answered.
    """

    def __init__(
        self, message: str, *, code: int = 0, kind: str = "UNKNOWN", usage: Usage | None = None
    ) -> None:
        super().__init__(message, code, kind)
        self.message, self.code, self.kind, self.usage = message, code, kind, usage

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.__dict__.copy())


def _rebuild(cls: type[ProviderError], message: str, state: dict[str, object]) -> ProviderError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True)
class Violation:
    """One entry of Google's QuotaFailure. `limit` is None when the server did not say."""

    quota_id: str  # e.g. GenerateRequestsPerMinutePerProjectPerModel
    limit: int | None
    metric: str = ""


class Throttled(ProviderError):
    """429. `retry_after_ms` is what the server asked for (RetryInfo), None when it did not say."""

    def __init__(
        self,
        message: str,
        *,
        code: int = 429,
        kind: str = "RESOURCE_EXHAUSTED",
        retry_after_ms: int | None = None,
        violations: Sequence[Violation] = (),
    ) -> None:
        super().__init__(message, code=code, kind=kind)
        self.retry_after_ms = retry_after_ms
        self.violations = tuple(violations)


class Unavailable(ProviderError):
    """It may pass: 408, 5xx, timeouts, resets, bodies that cannot be read."""

    @property
    def is_outage(self) -> bool:
        """Whether the provider itself seems to be away, and not only this answer."""
        return self.code >= 500 or self.kind == "CONNECTION"


class Rejected(ProviderError):
    """This request is refused for good: 400, 413, blocked content, an answer that never fits."""


class Unsendable(Rejected):
    """No request can be made of the item: nothing was sent, so it is no attempt."""


class Fatal(ProviderError):
    """Every request of the job would be refused: bad key, no permission, unknown model, billing."""
