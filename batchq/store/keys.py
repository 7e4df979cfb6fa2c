"""Every key the store uses, named once.

All keys of a job carry the hash tag `{job id}`, and a job's scripts touch no other key, so that the store can
live on a cluster. The global keys are used one to a script.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

SCHEMA = 1  # of what is stored; older code leaves newer data alone
MAX_LANES = 100  # of a job


@dataclass(frozen=True)
class JobKeys:
    """The keys of one job; about ten whatever its size."""

    namespace: str
    job_id: str

    def _key(self, name: str) -> str:
        return f"{self.namespace}:{{{self.job_id}}}:{name}"

    @cached_property
    def job(self) -> str:
        return self._key("job")  # HASH, the record

    @cached_property
    def shards(self) -> str:
        return self._key("sh")  # STRING, base, items and lane of each shard

    @cached_property
    def states(self) -> str:
        return self._key("st")  # STRING, one byte an item

    @cached_property
    def input(self) -> str:
        return self._key("in")  # HASH, shard -> compressed items

    @cached_property
    def output(self) -> str:
        return self._key("out")  # HASH, shard -> compressed outcomes

    @cached_property
    def files(self) -> str:
        return self._key("files")  # HASH, sha-256 -> bytes

    @cached_property
    def results(self) -> str:
        return self._key("res")  # HASH, position -> outcome not yet compacted

    @cached_property
    def past(self) -> str:
        return self._key("past")  # HASH, position -> history before a redrive, until its shard is compacted

    @cached_property
    def flight(self) -> str:
        return self._key("fl")  # HASH, position -> entry of an item in flight

    @cached_property
    def slow(self) -> str:
        return self._key("slow")  # ZSET, position by duration

    @cached_property
    def log(self) -> str:
        return self._key("log")  # LIST, the history

    @cached_property
    def purged(self) -> str:
        return self._key("purged")  # SET, positions of dead letters taken off the list

    @cached_property
    def box(self) -> str:
        return self._key("box")  # LIST, "shard:position" of dead letters that are not in their queue yet

    @cached_property
    def events(self) -> str:
        return self._key("events")  # HASH, number -> what the job's webhook is still to hear of

    @cached_property
    def redriven(self) -> str:
        return self._key("redriven")  # HASH, position -> times that the dead-letter queue sent it back

    @cached_property
    def box_lock(self) -> str:
        return self._key("box:lock")  # STRING, who empties the box; ends by itself, so it is not in `all`

    def lane(self, number: int) -> str:
        return self._key(f"lane:{number}")  # HASH, counters and cursor

    def back(self, number: int) -> str:
        return self._key(f"back:{number}")  # ZSET, position by due time

    def lanes(self, count: int) -> list[str]:
        """lane and back of each lane, in order."""
        return [key for number in range(count) for key in (self.lane(number), self.back(number))]

    def all(self, lanes: int) -> list[str]:
        fixed = [self.job, self.shards, self.states, self.input, self.output, self.files, self.results]
        return [
            *fixed,
            self.past,
            self.flight,
            self.slow,
            self.log,
            self.purged,
            self.box,
            self.events,
            self.redriven,
            *self.lanes(lanes),
        ]


job_keys = lru_cache(maxsize=1_000)(JobKeys)  # those of one job are asked for with each of its items


@dataclass(frozen=True, slots=True)
class CollectorKeys:
    """The keys of one collector, a hash tag of their own."""

    namespace: str
    name: str

    def _key(self, what: str) -> str:
        return f"{self.namespace}:collect:{{{self.name}}}:{what}"

    @property
    def collector(self) -> str:
        return self._key("c")  # HASH, options, thresholds, batches made

    @property
    def open(self) -> str:
        return self._key("open")  # LIST, items in no batch yet

    @property
    def batch(self) -> str:
        return self._key("batch")  # LIST, items of the batch that is being made a job

    @property
    def ids(self) -> str:
        return self._key("ids")  # HASH, id -> digest, of items in no job yet


@dataclass(frozen=True, slots=True)
class GlobalKeys:
    """The keys that belong to no job."""

    namespace: str

    @property
    def due(self) -> str:
        return f"{self.namespace}:jobs"  # ZSET, open jobs by the time of their next check (ms)

    @property
    def all(self) -> str:
        return f"{self.namespace}:jobs:all"  # ZSET, jobs by creation (ms)

    @property
    def collectors(self) -> str:
        return f"{self.namespace}:collectors"  # ZSET, names by the time of their next check (ms)

    @property
    def beats(self) -> str:
        return f"{self.namespace}:hb"  # HASH, incarnation -> beat

    @property
    def weather(self) -> str:
        return f"{self.namespace}:hb:weather"  # HASH, outage and grace

    @property
    def dropped(self) -> str:
        return (
            f"{self.namespace}:dropped"  # HASH, what was wrong with a message -> how many were dropped for it
        )

    @property
    def every_job(self) -> str:
        return JobKeys(self.namespace, "*")._key("*")  # a pattern: all keys of all jobs

    def job_of(self, key: str) -> str | None:
        """Whose key it is; None: no job's."""
        found = re.fullmatch(re.escape(self.namespace) + r":\{(.+)\}:[^{}]+", key)
        return found[1] if found else None

    def sweeper(self, schema: int = SCHEMA) -> str:
        return f"{self.namespace}:sweep:{schema}"  # STRING, the holder; a lock for each schema

    def quota(self, name: str) -> str:
        return f"{self.namespace}:q:{name}"  # HASH, limits, hold, pace and buckets

    def quota_slots(self, name: str) -> str:
        return f"{self.namespace}:q:{name}:slots"  # HASH, incarnation -> calls in flight

    def ratios(self, name: str) -> str:
        return f"{self.namespace}:ratios:{name}"  # LIST, real tokens by estimated ones, the latest first

    @property
    def quotas(self) -> str:
        return f"{self.namespace}:quotas"  # SET, names of all that were ever used

    def uploads(self, project: str) -> str:
        return f"{self.namespace}:uploads:{project}"  # HASH, sha-256 -> a file that lies at the provider

    def uploads_turn(self, project: str) -> str:
        return (
            f"{self.namespace}:uploads:turn:{project}"  # STRING, who looked after them last; ends by itself
        )

    def busy(self, queue: str) -> str:
        return f"{self.namespace}:busy:{queue}"  # ZSET, "job:lane" with work -> weight
