"""The gates of one process: which quotas a call draws on, and in which order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from batchq.flow.gate import Gate, Permit, TooLong
from batchq.settings import QuotaSettings, Settings
from batchq.store.jobs import JobSpec, Lane
from batchq.store.quotas import QuotaLimits, QuotaStore


@dataclass(frozen=True, slots=True)
class Passage:
    """The gates of one lane: its job's own limits, its queue's, its model's. The provider's comes last, since
    its permits are void half a second after their slot."""

    gates: tuple[Gate, ...]
    model: Gate | None  # the provider's quota; None: the operation asks no model

    def is_open(self) -> bool:
        """Whether a call may go at once."""
        return all(gate.is_open() for gate in self.gates)

    def held_ms(self) -> int:
        """How long nothing may go: the longest hold of its gates."""
        return max((gate.held_ms() for gate in self.gates), default=0)

    def wait(self, patience_s: float) -> Permit | TooLong:
        """A permit of every gate, or none."""
        waited_ms = 0
        passed: list[Gate] = []
        for gate in self.gates:
            permit = gate.wait(max(0.0, patience_s - waited_ms / 1000))
            waited_ms += permit.waited_ms
            if isinstance(permit, TooLong):
                for one in passed:
                    one.done()
                return TooLong(permit.due_ms, waited_ms, permit.binding)
            passed.append(gate)
        return Permit(waited_ms)

    def done(self) -> None:
        for gate in self.gates:
            gate.done()


def limits_of(settings: QuotaSettings | None) -> QuotaLimits:
    if settings is None:
        return QuotaLimits()
    return QuotaLimits(settings.requests_per_minute, settings.concurrency)


def job_quota(job_id: str) -> str:
    return f"job:{job_id}"


def model_quota(project: str, model: str) -> str:
    return f"model:{project}:{model}"


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
        stopping: Callable[[], bool],
    ) -> None:
        self._settings, self._store, self._owner, self._project = settings, store, owner, project
        self._max_waiting = max(1, slots // 2)
        self._stopping = stopping
        self._gates: dict[str, Gate] = {}
        self._lock = threading.Lock()

    def of(self, spec: JobSpec, lane: Lane) -> Passage:
        gates = []
        own = QuotaLimits(spec.rpm, spec.concurrency)
        if not own.unlimited:
            gates.append(self._gate(job_quota(spec.id), own))
        queue = self._settings.operation(lane.operation).queue or lane.operation
        shared = limits_of(self._settings.queues.get(queue))
        if not shared.unlimited:
            gates.append(self._gate(f"queue:{queue}", shared))
        model = None
        if lane.model is not None:
            quota = model_quota(self._project, lane.model)
            model = self._gate(quota, limits_of(self._settings.quotas.get(lane.model)))
            gates.append(model)
        return Passage(tuple(gates), model)

    def forget(self, job_id: str) -> None:
        with self._lock:
            self._gates.pop(job_quota(job_id), None)

    def _gate(self, quota: str, limits: QuotaLimits) -> Gate:
        with self._lock:
            gate = self._gates.get(quota)
            if gate is None:
                gate = self._gates[quota] = Gate(
                    quota,
                    limits,
                    self._store,
                    self._owner,
                    max_waiting=self._max_waiting,
                    stopping=self._stopping,
                )
            return gate
