"""What a job would be, before it is submitted: requests, tokens, cost and time. Reads, and stores nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from batchq.core.job import JobRecord
from batchq.core.limits import QuotaLimits
from batchq.core.pricing import Price, price_of
from batchq.core.records import Item, JsonObject
from batchq.errors import Complaint
from batchq.flow.gates import Passage, is_heard
from batchq.flow.shard_writer import ShardWriter
from batchq.flow.submission import Submission
from batchq.flow.submit import check, pour
from batchq.flow.walk import Walk
from batchq.operations.base import Blob, Call
from batchq.operations.options import output_limit
from batchq.store.job_record import JobSpec, Lane

JOBS_READ, JOBS_ASKED = 100, 5  # earlier ones that are looked through for those of the same kind, and taken
GUESSED_OUTPUT = 250  # tokens of an answer, where no earlier job tells
GUESSED_IMAGE = 1_290  # of a drawn one
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """What to expect of a submission. Tokens are estimates, and with them cost and time."""

    items: int
    bad: int  # of them, that cannot be sent: they would fail at once
    requests: int  # as quotas count them
    calls: int  # fewer where items go in packs
    models: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    output_from_jobs: int  # earlier jobs of the kind that tell how long answers are; 0: it is a guess
    cost_usd: float | None  # None: a model has no price
    max_cost: float | None
    time_s: float | None  # None: neither a quota nor a live worker tells
    quota: str | None  # the one that binds; None: none is known, or the workers' slots do
    quota_limit: str | None  # its limit that binds, in words
    problems: tuple[Complaint, ...]  # the first of the bad items

    def to_json(self) -> JsonObject:
        raw = asdict(self)
        raw["problems"] = [str(problem) for problem in self.problems]
        return raw


@dataclass(slots=True)
class _Kind:
    """The items of one lane, summed up as they are read."""

    lane: Lane
    passage: Passage
    price: Price | None
    answer: float | None  # output tokens of earlier answers, on average
    answer_s: float | None
    jobs: int
    items: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def guess(self) -> int:
        draws = self.price is not None and self.price.image_usd is not None
        return GUESSED_IMAGE if draws else GUESSED_OUTPUT

    def add(self, call: Call) -> None:
        tokens = self.passage.estimate([call]).usual if self.lane.model is not None else 0
        most = output_limit(call.options, call.input)
        output = self.guess if self.answer is None else self.answer
        if self.lane.model is None or (self.price is not None and not self.price.output_usd):
            output = 0
        output = min(output, most) if most else output
        self.items += 1
        self.input_tokens += tokens
        self.output_tokens += round(output)
        if self.price is not None:
            input_usd = self.price.prompt_usd(tokens, heard=is_heard(call))
            output_usd = self.price.answer_usd(tokens)
            self.cost_usd += (tokens * input_usd + output * output_usd) / 1_000_000


@dataclass(slots=True)
class _Load:
    """What one quota would have to carry."""

    limits: QuotaLimits
    used_today: int
    requests: int = 0
    tokens: int = 0

    def times(self) -> dict[str, float]:
        """Seconds by each of its limits, in words."""
        found: dict[str, float] = {}
        if (rpm := self.limits.requests_per_minute) is not None:
            found[f"{rpm:,} requests a minute"] = self.requests / rpm * 60
        if (tpm := self.limits.tokens_per_minute) is not None:
            found[f"{tpm:,} input tokens a minute"] = self.tokens / tpm * 60
        if (rpd := self.limits.requests_per_day) is not None:
            beyond = max(0, self.requests - max(0, rpd - self.used_today))
            found[f"{rpd:,} requests a day"] = -(-beyond // rpd) * DAY_S
        return found


@dataclass(slots=True)
class _Reader:
    """Takes each item that can be sent, as the writer has checked it."""

    walk: Walk
    submission: Submission
    kinds: dict[int, _Kind] = field(default_factory=dict)

    def look(self, lane: Lane, item: Item) -> None:
        kind = self.kinds.get(lane.number)
        if kind is None:
            kind = self.kinds[lane.number] = self._kind(lane)
        blob = _blob(item.input.get("file"))
        call = Call(
            item.id, item.input, lane.model, self.submission.options, self.submission.schema, blob=blob
        )
        kind.add(call)

    def _kind(self, lane: Lane) -> _Kind:
        walk = self.walk
        spec = _spec(self.submission, lane)
        passage = walk.gates.of(spec, lane, walk.project_of(spec, lane))
        before = _earlier(walk, lane)
        requests = sum(record.requests for record in before)
        answer = sum(record.output_tokens for record in before) / requests if requests else None
        took = [record.latency_ms["p50"] / 1000 for record in before if record.latency_ms]
        price = price_of(lane.model, walk.prices) if lane.model else None
        return _Kind(lane, passage, price, answer, sum(took) / len(took) if took else None, len(before))


def plan(walk: Walk, submission: Submission, rows: Iterable[Item | Complaint]) -> Plan:
    """Read and check everything as a submission would. Raises what that raises."""
    check(walk, submission)
    reader = _Reader(walk, submission)
    with contextlib.closing(
        ShardWriter(walk, submission, "plan", "", None, store=False, look=reader.look)
    ) as writer:
        pour(writer, rows, None)
        writer.finish()
    kinds = list(reader.kinds.values())
    unpriced = any(kind.lane.model is not None and kind.price is None for kind in kinds)
    time_s, quota, limit = _time(walk, submission, kinds)
    return Plan(
        items=writer.total,
        bad=writer.failed,
        requests=sum(kind.items for kind in kinds),
        calls=sum(_calls(walk, kind) for kind in kinds),
        models=tuple(dict.fromkeys(kind.lane.model for kind in kinds if kind.lane.model is not None)),
        input_tokens=sum(kind.input_tokens for kind in kinds),
        output_tokens=sum(kind.output_tokens for kind in kinds),
        output_from_jobs=min((kind.jobs for kind in kinds if kind.output_tokens), default=0),
        cost_usd=None if unpriced else sum(kind.cost_usd for kind in kinds),
        max_cost=submission.max_cost,
        time_s=time_s,
        quota=quota,
        quota_limit=limit,
        problems=tuple(writer.problems),
    )


def _calls(walk: Walk, kind: _Kind) -> int:
    packed = walk.packed(kind.lane.operation)
    return -(-kind.items // kind.passage.most_together(packed.pack)) if packed else kind.items


def _time(
    walk: Walk, submission: Submission, kinds: list[_Kind]
) -> tuple[float | None, str | None, str | None]:
    """How long the longest takes: a quota by one of its limits, or the slots of the live workers."""
    loads: dict[str, _Load] = {}
    found: list[tuple[float, str | None, str | None]] = []
    for kind in kinds:
        passage = kind.passage
        for quota, limits, view in zip(passage.quotas, passage.limits(), passage.views(), strict=True):
            load = loads.setdefault(quota, _Load(limits, view.used_today))
            load.requests, load.tokens = load.requests + kind.items, load.tokens + kind.input_tokens
        slots = walk.slots_of(_spec(submission, kind.lane), kind.lane)
        slots = min(slots, submission.concurrency or 1 << 30)
        if slots and kind.answer_s is not None:
            found.append((_calls(walk, kind) * kind.answer_s / slots, None, None))
    for quota, load in loads.items():
        shown = "the job's own" if quota.startswith("job:") else quota.rpartition(":")[2]
        found += [(seconds, shown, words) for words, seconds in load.times().items()]
    return max(found, key=lambda one: one[0], default=(None, None, None))


def _earlier(walk: Walk, lane: Lane) -> list[JobRecord]:
    """The newest jobs of the same operation and model that had answers."""
    alike = (
        record
        for record in islice(walk.jobs.each(), JOBS_READ)
        if (record.operation, record.model) == (lane.operation, lane.model) and record.succeeded
    )
    return list(islice(alike, JOBS_ASKED))


def _spec(submission: Submission, lane: Lane) -> JobSpec:
    return JobSpec(
        id="plan",
        lanes=(lane,),
        options=submission.options,
        schema=submission.schema,
        priority=submission.priority,
        rpm=submission.rpm,
        concurrency=submission.concurrency,
        tpm=submission.tpm,
        deadline_ms=None,
        total=0,
        shards=0,
        created_ms=0,
        retention_ms=0,
    )


def _blob(file: Any) -> Blob | None:
    """A checked file's bytes, for what they come to in tokens."""
    if not isinstance(file, Mapping) or "path" not in file:
        return None
    try:
        return Blob(str(file.get("name", "")), Path(str(file["path"])).read_bytes())
    except OSError:
        return None  # it changed since it was looked at
