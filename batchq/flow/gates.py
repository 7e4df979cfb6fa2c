"""The gates of one process: which quotas a call draws on, and what is learnt from each call."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from batchq.core import tokens
from batchq.core.job import JobRecord
from batchq.core.limits import QuotaLimits, in_force
from batchq.core.packs import MOST_TOKENS, TOKEN_SHARE, even_share
from batchq.core.records import Usage
from batchq.flow.experience import Experience
from batchq.flow.gate import Gate
from batchq.flow.holds import Holds
from batchq.flow.permit import Permit, TooLarge, TooLong
from batchq.operations.base import Call
from batchq.operations.media import media_type, tokens_of
from batchq.sections import QuotaSettings
from batchq.settings import Settings
from batchq.store.job_record import JobSpec, Lane
from batchq.store.quotas import QuotaStore, QuotaView


@dataclass(frozen=True, slots=True)
class Passage:
    """What a call of one lane must pass. `quotas` in order: its job's own, its queue's, its model's; all are
    drawn together. `gate` None: nothing limits it."""

    gate: Gate | None
    quotas: tuple[str, ...]
    confs: tuple[QuotaLimits, ...]  # as this process's settings have them
    model: str | None  # the provider's quota; None: the operation asks no model
    holds: Holds
    experience: Experience

    @property
    def shared(self) -> str | None:
        """The quota whose window the lane shares with others'; None: its queue is all they share."""
        return self.quotas[-1] if self.quotas and not self.quotas[-1].startswith("job:") else None

    def is_open(self) -> bool:
        """Whether a call may go without a permit."""
        return self.gate is None

    def counts_tokens(self) -> bool:
        """Whether an estimate is needed."""
        return any(limits.tokens_per_minute is not None for limits in self.limits())

    def limits(self) -> list[QuotaLimits]:
        """Those in force; this process's own settings where nobody has drawn yet. Raises StoreUnavailable."""
        return [
            view.limits if view.drawn else in_force(view.set, conf, view.learnt)
            for view, conf in zip(self.views(), self.confs, strict=True)
        ]

    def views(self) -> list[QuotaView]:
        """How its quotas stand, at most half a second old. Raises StoreUnavailable."""
        return [self.holds.view(quota) for quota in self.quotas]

    def full(self) -> tuple[int, str]:
        """How long until all of its quotas' windows have room, where that is long, and the last of them; (0, ""): now."""
        return max(((self.holds.room_ms(quota), quota) for quota in self.quotas), default=(0, ""))

    def is_found_out(self) -> bool:
        """Whether its model's limit is one that nobody knows yet."""
        if self.model is None:
            return False
        limits = self.limits()[-1]
        return limits.learns and limits.requests_per_minute is None

    def rpm(self) -> int | None:
        """Requests a minute of its tightest quota; None: none is known."""
        known = [rpm for limits in self.limits() if (rpm := limits.requests_per_minute) is not None]
        return min(known, default=None)

    def shared_rpm(self) -> int | None:
        """Requests a minute of the quota whose window it shares; None: none is known."""
        return self.limits()[-1].requests_per_minute if self.shared else None

    def most_together(self, most: int) -> int:
        """Of at most so many items how many a call takes, each of which the provider counts as a request: whole
        packs use a minute up, and the last of a day is no larger than what the day has left."""
        for view, limits in zip(self.views(), self.limits(), strict=True):
            if limits.requests_per_minute is not None:
                most = even_share(limits.requests_per_minute, most)
            if limits.requests_per_day is not None and view.used_today < limits.requests_per_day:
                most = min(most, limits.requests_per_day - view.used_today)
        return most

    def token_budget(self) -> int:
        """Input tokens that one pack may have."""
        known = [limit for limits in self.limits() if (limit := limits.tokens_per_minute) is not None]
        return min(known, default=MOST_TOKENS * TOKEN_SHARE) // TOKEN_SHARE

    def estimate(self, calls: Sequence[Call]) -> tokens.Estimate:
        """Input tokens that a call made of these will have."""
        return self.experience.estimate(sum(map(raw_tokens, calls)))

    def wait(self, patience_s: float, upper: int, usual: int, size: int = 1) -> Permit | TooLong | TooLarge:
        if self.gate is None:
            return Permit(0)
        return self.gate.wait(patience_s, upper, usual, size)

    def done(self, permit: Permit, estimate: tokens.Estimate | None, usage: Usage, *, answered: bool) -> None:
        """The call ended; its real usage settles the account and teaches the estimate."""
        real = usage.input_tokens or None
        if estimate is not None and real is not None:
            self.experience.learn(estimate.raw, real)
        if self.gate is not None:
            self.gate.done(permit, real, answered=answered)

    def take_answered(self) -> int:
        return self.gate.take_answered() if self.gate is not None else 0

    def unused(self, permit: Permit) -> None:
        if self.gate is not None:
            self.gate.unused(permit)


def raw_tokens(call: Call) -> int:
    """Input tokens of a call, before what was learnt of them."""
    texts = [call.input, {k: v for k, v in call.options.items() if k in ("prompt", "system_instruction")}]
    raw = tokens.of_texts(*texts)
    if call.schema is not None:
        raw += len(json.dumps(call.schema)) // tokens.BYTES_A_TOKEN
    if call.blob is not None:
        raw += tokens_of(call.blob)
    return raw


def is_heard(call: Call) -> bool:
    """Whether a call has a recording, whose tokens have a price of their own."""
    return call.blob is not None and (media_type(call.blob.data) or "").startswith("audio/")


def limits_of(settings: QuotaSettings | None) -> QuotaLimits:
    if settings is None:
        return QuotaLimits()
    return QuotaLimits(
        settings.requests_per_minute,
        settings.concurrency,
        settings.tokens_per_minute,
        settings.requests_per_day,
    )


def job_limits(job: JobSpec | JobRecord) -> QuotaLimits:
    return QuotaLimits(job.rpm, job.concurrency, job.tpm)


def job_quota(job_id: str) -> str:
    return f"job:{job_id}"


def queue_quota(queue: str) -> str:
    return f"queue:{queue}"


def model_quota(project: str, model: str) -> str:
    return f"model:{project}:{model}"


def spoken(quota: str) -> str:
    """A quota's name as people say it: a model's without its project."""
    kind, _, name = quota.partition(":")
    return name.partition(":")[2] if kind == "model" else quota


def _own_limits(spec: JobSpec) -> tuple[object, ...]:
    """What of a job decides on its passage: nothing, where it has no limits of its own."""
    if spec.rpm is None and spec.concurrency is None and spec.tpm is None:
        return ()
    return spec.id, spec.rpm, spec.concurrency, spec.tpm


class Gates:
    """Made as lanes come by; a job's gates go when the job is no longer known."""

    def __init__(
        self,
        settings: Settings,
        store: QuotaStore,
        owner: str,
        *,
        project: str,
        slots: int,
        queue: Callable[[str], str],
        workers: Callable[[], int],
        stopping: Callable[[], bool],
    ) -> None:
        self._settings, self._store, self._owner, self._project = settings, store, owner, project
        self._queue, self._workers, self._stopping = queue, workers, stopping
        self.holds = Holds(store, slots)
        self._gates: dict[tuple[str, ...], Gate] = {}
        self._passages: dict[tuple[object, ...], Passage] = {}  # by all that a passage depends on
        self._experience: dict[tuple[str, str | None], Experience] = {}
        self._lock = threading.Lock()

    def of(self, spec: JobSpec, lane: Lane, project: str | None = None) -> Passage:
        """`project` is told where this process has none of its own: submitters ask for the workers'."""
        if project is None:
            project = self._project
        queue = self._queue(lane.operation)
        key = (*_own_limits(spec), lane.operation, lane.model, queue, project)
        passage = self._passages.get(key)
        if passage is None:
            passage = self._passages[key] = self._make(spec, lane, queue, project)
        return passage

    def _make(self, spec: JobSpec, lane: Lane, queue: str, project: str) -> Passage:
        chain = self._chain(spec, lane, queue, project)
        quotas = tuple(chain)
        model = quotas[-1] if lane.model is not None else None
        key = (lane.operation, lane.model)
        with self._lock:
            experience = self._experience.get(key)
            if experience is None:
                experience = self._experience[key] = Experience(lane.operation, lane.model, self._store)
            gate = self._gates.get(quotas)
            if gate is None and quotas:
                gate = self._gates[quotas] = Gate(
                    quotas,
                    list(chain.values()),
                    self._store,
                    self._owner,
                    self.holds,
                    workers=self._workers,
                    stopping=self._stopping,
                )
        return Passage(gate, quotas, tuple(chain.values()), model, self.holds, experience)

    def _chain(self, spec: JobSpec, lane: Lane, queue: str, project: str) -> dict[str, QuotaLimits]:
        """The quotas of a lane and what this process's settings say of them."""
        chain: dict[str, QuotaLimits] = {}
        own = job_limits(spec)
        if not own.unlimited:
            chain[job_quota(spec.id)] = own
        if queue in self._settings.queues:
            chain[queue_quota(queue)] = limits_of(self._settings.queues[queue])
        if lane.model is not None:
            limits = limits_of(self._settings.quotas.get(lane.model))
            chain[model_quota(project, lane.model)] = replace(
                limits, learns=limits.requests_per_minute is None
            )
        return chain

    def forget(self, job_id: str) -> None:
        with self._lock:
            for quotas in [quotas for quotas in self._gates if quotas[0] == job_quota(job_id)]:
                del self._gates[quotas]
            for key in [key for key in self._passages if key[0] == job_id]:
                del self._passages[key]
        self.holds.forget(job_quota(job_id))
