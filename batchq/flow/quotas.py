"""The quotas of a fleet, for Python programs: see how they stand, change them while everything runs."""

from __future__ import annotations

from batchq.core.limits import QuotaLimits
from batchq.errors import InputError, NotFound
from batchq.flow.gates import model_quota
from batchq.flow.walk import Walk
from batchq.store.quotas import QuotaView

PREFIXES = ("model:", "queue:", "job:")


class Quotas:
    """`client.quotas`. A name is a model, `queue:NAME`, `job:ID` or the full one that `show` gives.

    What is changed reaches every worker within two seconds, and survives restarts.
    """

    def __init__(self, walk: Walk) -> None:
        self._walk = walk

    def show(self, *, jobs: bool = False) -> list[QuotaView]:
        """Every quota that was ever used, as it stands; `jobs`: the limits of single jobs too."""
        names = [name for name in self._walk.quotas.names() if jobs or not name.startswith("job:")]
        return [self._walk.quotas.view(name, live=True) for name in names]

    def get(self, name: str) -> QuotaView:
        """Raises NotFound, InputError."""
        return self._walk.quotas.view(self._full(name), live=True)

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
        full = self._full(name, new=True)
        self._walk.quotas.set(full, given)
        return self._walk.quotas.view(full, live=True)

    def reset(self, name: str) -> QuotaView:
        """What was set and what was learnt go; the workers' settings hold again. Raises NotFound, InputError."""
        full = self._full(name)
        self._walk.quotas.reset(full)
        return self._walk.quotas.view(full, live=True)

    def pause(self, name: str) -> QuotaView:
        """Nothing of it goes out until `resume`; jobs that need it show as paused."""
        full = self._full(name, new=True)
        self._walk.quotas.pause(full)
        return self._walk.quotas.view(full, live=True)

    def resume(self, name: str) -> QuotaView:
        """Lift the pause, and a hold after refusals too. Raises NotFound, InputError."""
        full = self._full(name)
        self._walk.quotas.resume(full)
        return self._walk.quotas.view(full, live=True)

    def _full(self, name: str, *, new: bool = False) -> str:
        known = self._walk.quotas.names()
        if name in known or (new and name.startswith(PREFIXES)):
            return name
        found = [one for one in known if one.startswith("model:") and one.endswith(f":{name}")]
        if len(found) > 1:
            raise InputError(f"several projects have a quota {name}: name one of {', '.join(found)}")
        if found:
            return found[0]
        projects = {beat.project for beat in self._walk.fleet.all() if beat.project}
        if new and len(projects) == 1:
            return model_quota(projects.pop(), name)
        if new:
            which = (
                "no worker has said"
                if not projects
                else f"workers have several ({', '.join(sorted(projects))})"
            )
            raise InputError(f"whose quota {name} is, {which}: name it in full, model:PROJECT:{name}")
        raise NotFound(f"no quota {name!r} was ever used: `batchq quotas show` lists them")
