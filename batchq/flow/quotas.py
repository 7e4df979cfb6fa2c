"""The quotas of a fleet, for Python programs: see how they stand, change them while everything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from batchq.core.lifecycle import ENDED
from batchq.core.limits import QuotaLimits, in_force
from batchq.errors import InputError
from batchq.flow.gates import job_limits, job_quota, model_quota
from batchq.flow.quota_names import JOB, MODEL, PREFIXES, QUEUE, Meant, model_meant, workers_of
from batchq.flow.walk import Walk
from batchq.store.fleet import Beat
from batchq.store.quotas import QuotaView


class Quotas:
    """`client.quotas`. A name is a model, `queue:NAME`, `job:ID` or the full one that `show` gives.

    A model is one of the live workers' project; while no worker lives, of the project of the settings here. What is
    changed reaches every worker within two seconds, and survives restarts.
    """

    def __init__(self, walk: Walk, own_project: Callable[[], str]) -> None:
        self._walk, self._own_project = walk, own_project

    def show(self) -> list[QuotaView]:
        """Every quota of a model or a queue that was ever used, then those of jobs that have not ended."""
        known, alive = self._walk.quotas.names(), self._alive()
        shared = [name for name in known if not name.startswith(JOB)]
        jobs = sorted(
            name
            for record in self._walk.jobs.unfinished()
            if (name := job_quota(record.id)) in known or not job_limits(record).unlimited
        )
        return [self._view(name, alive) for name in (*shared, *jobs)]

    def get(self, name: str) -> QuotaView:
        """Raises NotFound, InputError."""
        return self._view(self.which(name).name)

    def set(
        self,
        name: str,
        *,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        requests_per_day: int | None = None,
        concurrency: int | None = None,
    ) -> QuotaView:
        """These hold over what workers have configured, until `reset`. None: as it is; 0: no limit."""
        given = QuotaLimits(requests_per_minute, concurrency, tokens_per_minute, requests_per_day)
        if given.unlimited:
            raise InputError("nothing to set: give at least one limit (0: no limit)")
        values = (requests_per_minute, concurrency, tokens_per_minute, requests_per_day)
        if any(value is not None and value < 0 for value in values):
            raise InputError("a limit cannot be negative: 0 is no limit")
        full = self.which(name, new=True).name
        self._walk.quotas.set(full, given)
        return self._view(full)

    def reset(self, name: str) -> QuotaView:
        """What was set and what was learnt go; the workers' settings hold again. Raises NotFound, InputError."""
        full = self.which(name).name
        self._walk.quotas.reset(full)
        return self._view(full)

    def pause(self, name: str) -> QuotaView:
        """Nothing of it goes out until `resume`; jobs that need it show as paused."""
        full = self.which(name, new=True).name
        self._walk.quotas.pause(full)
        return self._view(full)

    def resume(self, name: str) -> QuotaView:
        """Lift the pause, and a hold after refusals too. Raises NotFound, InputError."""
        full = self.which(name).name
        self._walk.quotas.resume(full)
        return self._view(full)

    def which(self, name: str, *, new: bool = False) -> Meant:
        """The quota that a name means; `new`: also one that no call has drawn on yet, where one will.

        Raises NotFound, InputError.
        """
        known, prefix = self._walk.quotas.names(), name.partition(":")[0] + ":"
        if new and prefix == JOB:
            self._check_job(name.removeprefix(JOB))
        if new and prefix == QUEUE:
            self._check_queue(name.removeprefix(QUEUE))
        if new and prefix not in PREFIXES and self._walk.jobs.exists(name):
            raise InputError(f"{name} is a job: its own quota is {job_quota(name)}")
        if prefix == MODEL and not name.removeprefix(MODEL).partition(":")[2]:
            raise InputError(f"{name!r} is no quota's name: it is {model_quota('PROJECT', 'MODEL')}")
        if name in known or (new and prefix in PREFIXES) or self._is_a_jobs(name):
            return Meant(name)
        meant = model_meant(name, known, self._alive(), self._own_project, new=new)
        if any(one.endswith(f":{name}") for one in known):
            return meant
        unused = "no call has drawn on it yet: is the name right?"
        return replace(meant, why=f"{meant.why}; {unused}" if meant.why else unused)

    def _check_job(self, job_id: str) -> None:
        """Only the calls of a job with limits of its own draw on a quota of its own."""
        record = self._walk.jobs.record(job_id)
        if record.state in ENDED:
            raise InputError(f"job {job_id} is {record.state}: nothing draws on its quota any more")
        if job_limits(record).unlimited:
            raise InputError(
                f"job {job_id} was submitted without limits of its own, so there is no quota of its own to change: "
                f"`batchq pause {job_id}` pauses it; --rpm, --tpm and --concurrency are for `batchq submit`"
            )

    def _check_queue(self, queue: str) -> None:
        """Only where workers have limits for it do calls draw on a queue's quota."""
        told = (f"queues.{queue}" in beat.limits for beat in self._alive())
        if queue not in self._walk.settings.queues and not any(told):
            raise InputError(
                f"no live worker has limits for queue {queue!r}, nor have the settings here, so no call draws on "
                f"{QUEUE}{queue}: give the workers some ([queues.{queue}], docs/settings.md), or change the model's quota"
            )

    def _alive(self) -> Sequence[Beat]:
        return self._walk.fleet.alive(int(self._walk.settings.lease_s * 1000))

    def _is_a_jobs(self, name: str) -> bool:
        return name.startswith(JOB) and self._walk.jobs.exists(name.removeprefix(JOB))

    def _view(self, name: str, alive: Sequence[Beat] | None = None) -> QuotaView:
        alive = self._alive() if alive is None else alive
        view = replace(self._walk.quotas.view(name, live=True), workers=workers_of(name, alive))
        if not alive:  # nor is there a sweeper, which would free what killed processes had in flight
            view = replace(view, in_flight=0)
        if not view.drawn and self._is_a_jobs(name):  # what its first draw will tell the store
            own = job_limits(self._walk.spec(name.removeprefix(JOB)))
            limits = in_force(view.set, own, view.learnt)
            used_tokens = None if limits.tokens_per_minute is None else 0
            view = replace(view, configured=own, limits=limits, used_tokens=used_tokens)
        return view
