"""A handle on a collector: any number of processes add items to it, and workers make jobs of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from batchq.flow import collect
from batchq.flow.submission import SubmitOptions
from batchq.flow.walk import Walk

Job = TypeVar("Job")


class Collector(Generic[Job]):
    """Made by `Client.collector`, whose handle on a job `job` gives. Making it reads nothing."""

    def __init__(
        self,
        walk: Walk,
        job: Callable[[str], Job],
        name: str,
        flush_items: int,
        flush_after_s: float,
        options: SubmitOptions,
        retention_ms: int,
    ) -> None:
        self.name = name
        self._walk, self._job, self._given = walk, job, options
        self._flush_items, self._flush_after_s = flush_items, flush_after_s
        self._options = collect.check_collector(walk, name, flush_items, flush_after_s, options, retention_ms)

    def __repr__(self) -> str:
        return f"Collector({self.name!r})"

    def add(self, item: Any) -> str:
        """Store one item (as `submit` takes them, files apart) and return its id: it will be in one job, whoever dies.

        An item with an id of yours may be added again as long as it is in no job, and counts once; one without gets an
        id. Raises InputError, Conflict (that id waits with other content), StoreUnavailable (it may be stored: with
        an id of yours, add it again).
        """
        walk, given = self._walk, self._given
        kept = collect.item_to_keep(
            walk, item, given.get("prompt"), given.get("operation") or "generate", given.get("model")
        )
        limits = {"flush_items": self._flush_items, "flush_after_s": self._flush_after_s}
        collect.add(walk, self.name, kept, options=self._options, **limits)  # type: ignore[arg-type]
        return str(kept["id"])

    def flush(self) -> list[Job]:
        """Make jobs of all that waits, now. A batch that another process is just making a job of is left to it."""
        return [self._job(job_id) for job_id in collect.flush(self._walk, self.name)]
