"""Looks over everything under the namespace: keys that no job has any more, entries of jobs that are gone, counters.

The sweeper drops entries of expired jobs as it goes; the rest is for `batchq doctor --deep`, and costs a scan of the
whole server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from batchq.core.lifecycle import ENDED, JobState
from batchq.store.database import Database
from batchq.store.keys import SCHEMA

SCAN = 1_000  # keys a call
PAGE = 200  # jobs asked for at once


OF_JOB = "job:"  # before the name of a job's own quota


def _is_over(state: bytes) -> bool:
    return JobState(state.decode()) in ENDED


@dataclass(frozen=True, slots=True)
class Miscount:
    """A counter that says something else than the items' states."""

    counter: str
    said: int
    right: int

    def __str__(self) -> str:
        return f"{self.counter} says {self.said:,} and should say {self.right:,}"


class Upkeep:
    """Named operations on what is left over."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._looked_at = 0  # of the list of jobs, from its oldest

    def drop_expired(self) -> list[str]:
        """Take jobs that have expired off the list: a page of it each time, from the oldest on and round again."""
        page = self._db.command("ZRANGE", self._db.keys.all, self._looked_at, self._looked_at + PAGE - 1)
        gone = list(self._gone(one.decode() for one in page))
        self._looked_at = self._looked_at + PAGE - len(gone) if len(page) == PAGE else 0
        self.drop_entries(gone)
        return gone

    def drop_entries(self, jobs: Iterable[str]) -> None:
        """Take jobs off the list and off the agenda."""
        if members := list(jobs):
            self._db.batch([("ZREM", key, *members) for key in (self._db.keys.all, self._db.keys.due)])

    def listed_and_gone(self) -> list[str]:
        """Jobs on the list or the agenda of which nothing is stored."""
        keys = (self._db.keys.all, self._db.keys.due)
        listed = {one.decode() for key in keys for one in self._db.command("ZRANGE", key, 0, -1)}
        return sorted(self._gone(listed))

    def orphans(self) -> dict[str, list[str]]:
        """Keys of jobs that have no record, by job."""
        by_job: dict[str, list[str]] = {}
        for key in self._db.client.scan_iter(match=self._db.keys.every_job, count=SCAN):
            if job_id := self._db.keys.job_of(key.decode()):
                by_job.setdefault(job_id, []).append(key.decode())
        gone = set(self._gone(by_job))
        # a lock ends by itself
        locks = {self._db.job_keys(job_id).box_lock for job_id in gone}
        left = {
            job_id: sorted(set(keys) - locks) for job_id, keys in sorted(by_job.items()) if job_id in gone
        }
        return {job_id: keys for job_id, keys in left.items() if keys}

    def remove(self, orphans: Mapping[str, list[str]]) -> None:
        """Remove them, of jobs that have no record still."""
        for job_id in self._gone(orphans):
            self._db.command("UNLINK", *orphans[job_id])

    def shares(self) -> dict[str, list[str]]:
        """Parts in what jobs share that jobs still have which are gone or have ended, by key."""
        held: dict[str, dict[str, str]] = {}  # key -> member -> job
        for key in self._db.client.scan_iter(match=self._db.keys.busy("*"), count=SCAN):
            members = [one.decode() for one in self._db.command("ZRANGE", key, 0, -1)]
            held[key.decode()] = {member: member.rpartition(":")[0] for member in members}
        names = [name.decode() for name in self._db.command("SMEMBERS", self._db.keys.quotas)]
        held[self._db.keys.quotas] = {one: one[len(OF_JOB) :] for one in names if one.startswith(OF_JOB)}
        jobs = sorted({job_id for members in held.values() for job_id in members.values()})
        over = {job_id for job_id, state in self._states(jobs) if state is None or _is_over(state)}
        left = {key: [one for one, job in members.items() if job in over] for key, members in held.items()}
        return {key: members for key, members in left.items() if members}

    def give_up(self, shares: Mapping[str, list[str]]) -> None:
        """Take these parts out, and remove the quotas of those jobs."""
        for key, members in shares.items():
            if key != self._db.keys.quotas:
                self._db.command("ZREM", key, *members)
                continue
            self._db.command("SREM", key, *members)
            for name in members:
                self._db.command("UNLINK", self._db.keys.quota(name), self._db.keys.quota_slots(name))

    def unwatched(self) -> list[str]:
        """Open jobs that are on no agenda: no sweeper looks at them."""
        listed = [one.decode() for one in self._db.command("ZRANGE", self._db.keys.all, 0, -1)]
        watched = {one.decode() for one in self._db.command("ZRANGE", self._db.keys.due, 0, -1)}
        states = self._states([one for one in listed if one not in watched])
        return [job_id for job_id, state in states if state is not None and not _is_over(state)]

    def recount(self, job_id: str, lanes: int, *, mend: bool) -> list[Miscount]:
        """The counters of a job that are wrong; with `mend` they are written anew, in the same instant."""
        keys = self._db.job_keys(job_id)
        used = [keys.job, keys.shards, keys.states, *(keys.lane(number) for number in range(lanes))]
        _, *found = self._db.run("recount", used, [SCHEMA, int(mend)])
        told = [part.decode() for part in found]
        triples = zip(told[::3], told[1::3], told[2::3], strict=True)
        return sorted((Miscount(name, int(said), int(right)) for name, said, right in triples), key=str)

    def _gone(self, jobs: Iterable[str]) -> Iterator[str]:
        return (job_id for job_id, state in self._states(list(jobs)) if state is None)

    def _states(self, jobs: list[str]) -> Iterator[tuple[str, bytes | None]]:
        for first in range(0, len(jobs), PAGE):
            page = jobs[first : first + PAGE]
            asked = [("HGET", self._db.job_keys(job_id).job, "state") for job_id in page]
            yield from zip(page, self._db.batch(asked), strict=True)
