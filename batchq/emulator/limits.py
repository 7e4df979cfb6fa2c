"""Quotas as Gemini keeps them: requests a minute, input tokens a minute, requests a day. Pure: time is given.

Times are whole microseconds of the Unix clock, so nothing is approximate. A refused request uses up nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from batchq.errors import ConfigurationError

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 24 * 60 * MINUTE_US
DAY_BEGINS_US = 8 * 60 * MINUTE_US  # midnight at UTC-8: Pacific time without its summer hour


class Window(StrEnum):
    """What "a minute" means. Gemini does not say; reports from the field fit `rolling`."""

    ROLLING = "rolling"  # any 60 s
    FIXED = "fixed"  # each minute of the clock
    BUCKET = "bucket"  # refilled all the time, up to `burst`


class Quota(StrEnum):
    RPM = "rpm"
    TPM = "tpm"  # input tokens
    RPD = "rpd"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one (project, model). None: not limited; 0: the model is not in this tier."""

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None

    def __post_init__(self) -> None:
        for quota in Quota:
            limit = self.of(quota)
            if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
                raise ConfigurationError(f"{quota}={limit!r} must be a whole number from 0, or none")

    def of(self, quota: Quota) -> int | None:
        return {Quota.RPM: self.rpm, Quota.TPM: self.tpm, Quota.RPD: self.rpd}[quota]


@dataclass(frozen=True, slots=True)
class Breach:
    """A quota that a request would have broken."""

    quota: Quota
    limit: int
    wait_us: int  # until the same request fits, if nobody else comes


class Meter(Protocol):
    """What was taken of one quota."""

    def wait_us(self, amount: int, limit: int, now_us: int) -> int:
        """Time until `amount` fits; 0: now. One that never fits is told the length of the window."""

    def take(self, amount: int, now_us: int) -> None:
        """Take what `wait_us` has just allowed, at the same time."""


class RollingMeter:
    """No more than the limit in any span that ends at a request: what is older than the span is forgotten."""

    def __init__(self, span_us: int = MINUTE_US) -> None:
        self._span_us = span_us
        self._taken: deque[tuple[int, int]] = deque()
        self._sum = 0

    def wait_us(self, amount: int, limit: int, now_us: int) -> int:
        self._forget(now_us)
        over = self._sum + amount - limit
        if over <= 0:
            return 0
        for at_us, taken in self._taken:
            over -= taken
            if over <= 0:
                return at_us + self._span_us - now_us
        return self._span_us

    def take(self, amount: int, now_us: int) -> None:
        self._taken.append((now_us, amount))
        self._sum += amount

    def _forget(self, now_us: int) -> None:
        taken = self._taken
        while taken and taken[0][0] + self._span_us <= now_us:
            self._sum -= taken.popleft()[1]


class FixedMeter:
    """A new account at each multiple of the span (after `begins_us`): twice the limit may pass around it."""

    def __init__(self, span_us: int = MINUTE_US, begins_us: int = 0) -> None:
        self._span_us, self._begins_us = span_us, begins_us
        self._window = 0
        self._sum = 0

    def wait_us(self, amount: int, limit: int, now_us: int) -> int:
        self._turn(now_us)
        if self._sum + amount <= limit:
            return 0
        return (self._window + 1) * self._span_us + self._begins_us - now_us

    def take(self, amount: int, now_us: int) -> None:  # noqa: ARG002
        self._sum += amount

    def _turn(self, now_us: int) -> None:
        window = (now_us - self._begins_us) // self._span_us
        if window != self._window:
            self._window, self._sum = window, 0


class BucketMeter:
    """Refilled at `limit` a span up to `burst` (None: the limit), so burst + limit may pass in some span."""

    def __init__(self, span_us: int = MINUTE_US, burst: int | None = None) -> None:
        self._span_us, self._burst = span_us, burst
        self._missing = 0  # from a full bucket, × span_us, so that whole numbers refill without loss
        self._at_us = 0

    def wait_us(self, amount: int, limit: int, now_us: int) -> int:
        self._refill(limit, now_us)
        room = (limit if self._burst is None else min(self._burst, limit)) * self._span_us
        short = self._missing + amount * self._span_us - room
        if short <= 0:
            return 0
        return -(-short // limit) if limit and short <= self._missing else self._span_us

    def take(self, amount: int, now_us: int) -> None:  # noqa: ARG002
        self._missing += amount * self._span_us

    def _refill(self, limit: int, now_us: int) -> None:
        self._missing = max(0, self._missing - limit * max(0, now_us - self._at_us))
        self._at_us = max(now_us, self._at_us)


@dataclass(slots=True)
class _Account:
    rpm: Meter
    tpm: Meter
    rpd: Meter


@dataclass(slots=True)
class Limiter:
    """The accounts of all (project, model) pairs."""

    window: Window = Window.ROLLING
    burst: int | None = None  # requests that a full bucket holds; None: the limit. Tokens: always the limit
    _accounts: dict[tuple[str, str], _Account] = field(default_factory=dict)

    def admit(
        self, project: str, model: str, limits: Limits, requests: int, tokens: int, now_us: int
    ) -> tuple[Breach, ...]:
        """Take from all quotas or from none. Empty: admitted; else what would have been broken."""
        account = self._accounts.get((project, model))
        if account is None:
            account = self._accounts[project, model] = self._opened()
        asked = (
            (Quota.RPM, account.rpm, limits.rpm, requests),
            (Quota.TPM, account.tpm, limits.tpm, tokens),
            (Quota.RPD, account.rpd, limits.rpd, requests),
        )
        breaches = [
            Breach(quota, limit, wait_us)
            for quota, meter, limit, amount in asked
            if limit is not None and (wait_us := meter.wait_us(amount, limit, now_us))
        ]
        if breaches:
            return tuple(breaches)
        for _, meter, limit, amount in asked:
            if limit is not None:  # what nobody limits is not kept either
                meter.take(amount, now_us)
        return ()

    def new_day(self) -> None:
        """Give every project its requests of the day back."""
        for account in self._accounts.values():
            account.rpd = _day()

    def _opened(self) -> _Account:
        minute: dict[Window, Callable[[], Meter]] = {
            Window.ROLLING: RollingMeter,
            Window.FIXED: FixedMeter,
            Window.BUCKET: lambda: BucketMeter(burst=self.burst),
        }
        tokens: Meter = BucketMeter() if self.window is Window.BUCKET else minute[self.window]()
        return _Account(rpm=minute[self.window](), tpm=tokens, rpd=_day())


def _day() -> Meter:
    return FixedMeter(DAY_US, DAY_BEGINS_US)
