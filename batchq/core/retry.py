"""What becomes of an item after a call that failed: values in, a decision out."""

from __future__ import annotations

from dataclasses import dataclass

from batchq.core.lifecycle import ItemState
from batchq.core.limits import QuotaLimits
from batchq.core.pacific import until_pacific_midnight_ms
from batchq.errors import Fatal, ProviderError, Rejected, Throttled

BASE_MS = 1_000
CAP_MS = 600_000  # of one backoff
LIMITED_CAP_MS = 60_000  # of a wait that the server did not name
MARGIN_MS = 1_000  # RetryInfo is rounded down
JITTER_MS = 1_000  # so that a fleet does not come back as one
NOTHING_LEARNT = QuotaLimits()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_attempts` counts errors other than rate limits; `max_limited_ms` the waits after rate limits. `backoff_ms` is
    what doubles with each attempt, up to `backoff_max_ms`."""

    max_attempts: int
    max_limited_ms: int
    backoff_ms: int = BASE_MS
    backoff_max_ms: int = CAP_MS


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Settle the item: failed (refused for good) or dead_letter (it might have passed)."""

    state: ItemState
    status: str  # of the error that the results show
    message: str


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `delay_ms`; an attempt is used up."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class Limited:
    """Refused for rate: hold the quota for `hold_ms`, for everybody; no attempt is used up.

    `charged_ms` counts against the item's waits after rate limits; a daily quota charges nothing. `kind`:
    "day", "hold" (a minute's limit) or "capacity" (no quota was named). `learnt` are the limits it told.
    """

    delay_ms: int
    hold_ms: int
    charged_ms: int
    kind: str = "hold"
    learnt: QuotaLimits = NOTHING_LEARNT


@dataclass(frozen=True, slots=True)
class Away:
    """The provider answers nobody, its quota is held for `hold_ms`: the item goes back, no attempt is used up."""

    hold_ms: int


@dataclass(frozen=True, slots=True)
class Unserved:
    """The job cannot be served: give the item back, count towards the job's pause."""

    why: str


Decision = GiveUp | Again | Limited | Away | Unserved


def decide(
    error: ProviderError,
    *,
    attempts: int,
    limited: int,
    limited_ms: int,
    policy: RetryPolicy,
    now_ms: int,
    dice: float,
) -> Decision:
    """`attempts` counts this call; `limited` and `limited_ms` the refusals for rate before it. `dice` is in [0, 1)."""
    if isinstance(error, Throttled):
        told = refusal(error, limited, now_ms, dice)
        if limited_ms + told.charged_ms <= policy.max_limited_ms:
            return told
        message = f"refused for rate {limited + 1} times, {limited_ms // 1000} s waited: {error.message}"
        return GiveUp(ItemState.DEAD_LETTER, "RATE_LIMITED", message)
    if isinstance(error, Fatal):
        return Unserved(error.message)
    if isinstance(error, Rejected):
        return GiveUp(ItemState.FAILED, error.kind, error.message)
    if attempts >= policy.max_attempts:
        message = f"{error.message} (attempt {attempts} of {policy.max_attempts})"
        return GiveUp(ItemState.DEAD_LETTER, error.kind, message)
    return Again(backoff_ms(attempts, dice, policy.backoff_ms, policy.backoff_max_ms))


def backoff_ms(attempts: int, dice: float, base_ms: int = BASE_MS, most_ms: int = CAP_MS) -> int:
    """Exponential with full jitter: anywhere up to `base_ms` × 2^n."""
    return int(dice * min(most_ms, base_ms * 2 ** min(attempts, 20)))


def refusal(error: Throttled, limited: int, now_ms: int, dice: float) -> Limited:
    """What a refusal for rate means for the quota, and for an item that may wait for it."""
    jitter_ms = int(dice * JITTER_MS)
    learnt = learnt_from(error)
    # quotaId first: a per-day refusal carries a retryDelay of seconds all the same
    if any("PerDay" in violation.quota_id for violation in error.violations):
        hold_ms = until_pacific_midnight_ms(now_ms)
        return Limited(hold_ms + jitter_ms, hold_ms, 0, "day", learnt)
    if error.retry_after_ms is not None:
        hold_ms = error.retry_after_ms + MARGIN_MS
    else:
        hold_ms = min(LIMITED_CAP_MS, BASE_MS * 2 ** min(limited, 20))
    kind = "hold" if error.violations or error.retry_after_ms is not None else "capacity"
    return Limited(hold_ms + jitter_ms, hold_ms, hold_ms, kind, learnt)


def learnt_from(error: Throttled) -> QuotaLimits:
    """The limits that a refusal names. Only quotaId tells which is which; the message's wording changes."""
    rpm = tpm = rpd = None
    for violation in error.violations:
        limit, name = violation.limit, violation.quota_id
        if not limit:
            continue
        if "InputToken" in name:
            tpm = limit if "PerMinute" in name else tpm
        elif "PerDay" in name:
            rpd = limit
        elif "PerMinute" in name:
            rpm = limit
    return QuotaLimits(requests_per_minute=rpm, tokens_per_minute=tpm, requests_per_day=rpd)
