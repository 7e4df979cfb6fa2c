"""What a job's record says to people: rows of a report, the facts of a progress line, words for numbers.

Pure: a record in, texts out. Ids and messages of items come from anybody, so each value is one line without
control characters, whatever is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batchq.core.job import JobRecord
from batchq.core.lifecycle import JobState
from batchq.core.pricing import AS_OF
from batchq.core.wording import Row, count, duration, milliseconds, money, one_line, per_second, short

RESUME = "batchq resume"
SHOWN_SLOWEST = 3
SHOWN_IDLE_S = 60
LONGEST = 160  # characters of a message in a report


@dataclass(frozen=True, slots=True)
class Example:
    """One item that ended with an error of some kind, to look at first."""

    id: str
    message: str


def report(record: JobRecord, examples: Mapping[str, Example] | None = None) -> list[Row]:
    """The rows of a report. `examples` by error kind; without one a kind shows its count only."""
    rows = [("state", _state(record)), ("items", _items(record))]
    if record.duration_s is not None:
        rows.append(("time", _time(record.duration_s, record)))
    if record.eta is not None:
        rows.append(("expected", f"in {duration(record.eta)}"))
    if record.latency_ms:
        rows.append(("latency", _latency(record)))
    if record.requests:
        rows.append(("calls", _calls(record)))
    if record.input_tokens or record.output_tokens:
        rows.append(("tokens", _tokens(record)))
        rows.append(("cost", _cost(record)))
    if record.wasted_tokens:
        rows.append(("waste", _waste(record)))
    if record.slowest:
        rows.append(("slowest", _slowest(record)))
    known = examples or {}
    for kind, number in sorted(record.errors.items(), key=lambda entry: -entry[1]):
        rows.append(("errors", _error(kind, number, known.get(kind))))
    return rows


def what_to_do(record: JobRecord, resume: str = RESUME) -> list[str]:
    """The commands that go on from here; empty when there is nothing left to do. `resume`: a run takes its workers
    with it, so its job goes on by another run."""
    advice = []
    if "quota" in record.paused_by and record.waits_for and record.resumes_at is None:
        advice.append(f"let its quota go on: batchq quotas resume {record.waits_for}")
    if record.state is JobState.PAUSED and (record.paused_by != ("quota",) or resume != RESUME):
        higher = " --max-cost USD, above what is spent" if "budget" in record.paused_by else ""
        advice.append(f"go on when the cause is gone: {resume} {record.id}{higher}")
    if record.failed + record.dead_letter:
        advice.append(f"look at what did not succeed: batchq dlq list {record.id}")
        if record.state is not JobState.CANCELLED:
            advice.append(f"send it again: batchq dlq redrive {record.id}")
    return advice


def facts(record: JobRecord) -> list[str]:
    """What a progress line says beside settled and total."""
    told = []
    if record.failed + record.dead_letter:
        told.append(f"{record.failed + record.dead_letter:,} failed")
    if record.cancelled:
        told.append(f"{record.cancelled:,} cancelled")
    if record.rate:
        told.append(per_second(record.rate))
    if record.retries:
        told.append(f"{count(record.retries, 'retry', 'retries')}")
    if record.rate_limited:
        told.append(f"{record.rate_limited:,} rate limited")
    if record.input_tokens:
        told.append(f"{short(record.input_tokens + record.output_tokens)} tokens")
    if record.cost_usd:
        told.append(money(record.cost_usd))
    if record.duration_s is not None:
        told.append(duration(record.duration_s))
    if record.eta is not None:
        told.append(f"{duration(record.eta)} left")
    if record.state is JobState.PAUSED:
        told.append("paused")
    return told


def progress_line(record: JobRecord) -> str:
    """Progress as one line of text."""
    share = 100 * record.settled // record.total if record.total else 100
    return ", ".join([f"{share} %: {record.settled:,} of {record.total:,} items", *facts(record)])


def all_succeeded(record: JobRecord) -> bool:
    return record.succeeded == record.total


# -- rows ---------------------------------------------------------------------------------------------------


def _state(record: JobRecord) -> str:
    why = record.error or record.reason
    return str(record.state) + (f": {one_line(why, 500)}" if why else "")


def _items(record: JobRecord) -> str:
    parts = [
        f"{number:,} {word}"
        for number, word in (
            (record.succeeded, "succeeded"),
            (record.failed, "failed"),
            (record.dead_letter, "dead letter" if record.dead_letter == 1 else "dead letters"),
            (record.cancelled, "cancelled"),
            (record.pending, "pending"),
            (record.processing, "in flight"),
        )
        if number
    ]
    return f"{record.total:,}: {', '.join(parts) or 'none settled'}"


def _time(duration_s: float, record: JobRecord) -> str:
    idle = f", {duration(record.idle_s)} of it idle" if record.idle_s >= SHOWN_IDLE_S else ""
    return f"{duration(duration_s)}{idle}, {per_second(record.rate)}"


def _latency(record: JobRecord) -> str:
    ms = record.latency_ms
    return f"p50 {milliseconds(ms['p50'])}, p95 {milliseconds(ms['p95'])}, longest {milliseconds(ms['max'])}"


def _calls(record: JobRecord) -> str:
    parts = [
        count(record.requests, "request"),
        f"{record.rate_limited:,} rate limited",
        count(record.retries, "retry", "retries"),
    ]
    if record.repeated:
        parts.append(f"{record.repeated:,} repeated after a crash")
    return ", ".join(parts)


def _tokens(record: JobRecord) -> str:
    cached = f" ({record.cached_tokens:,} of it cached)" if record.cached_tokens else ""
    return f"{record.input_tokens:,} in{cached}, {record.output_tokens:,} out"


def _waste(record: JobRecord) -> str:
    price = f", {money(record.wasted_usd)}" if record.wasted_usd is not None else ""
    return f"{record.wasted_tokens:,} tokens{price}, for failed and repeated attempts"


def _cost(record: JobRecord) -> str:
    if record.cost_usd is None:
        return f"no price is known for {one_line(record.model or 'this model', 80)}"
    return f"{money(record.cost_usd)} (list prices of {AS_OF} or your own; an estimate)"


def _slowest(record: JobRecord) -> str:
    some = sorted(record.slowest, key=lambda slow: -slow.duration_ms)[:SHOWN_SLOWEST]
    return ", ".join(
        f"{one_line(slow.id or f'item {slow.index}', 60)} {milliseconds(slow.duration_ms)}" for slow in some
    )


def _error(kind: str, number: int, example: Example | None) -> str:
    text = f"{number:,} × {one_line(kind, 80)}"
    if example is None:
        return text
    return f"{text}, such as {one_line(example.id, 60)}: {one_line(example.message, LONGEST)}"
