"""The record of a job: read, held, cancelled, finished, deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from batchq.core.forecast import Pace
from batchq.core.job import JobRecord
from batchq.core.lifecycle import ENDED, HoldCause, JobState
from batchq.core.wording import count, money
from batchq.errors import Conflict, InputError, NewerData, NotFound
from batchq.store.database import Database
from batchq.store.job_record import (
    NANO,
    Forecast,
    JobSpec,
    NewerJob,
    Progress,
    change_line,
    lanes_of,
    optional_int,
    record_of,
    slowest_of,
    state_of,
)
from batchq.store.keys import MAX_LANES, SCHEMA
from batchq.store.submissions import leave_lists

LIST_PAGE = 100
CANCEL_SHARDS = 200  # settled by one call of cancel_sweep: some 40,000 items
FINISHER_STALE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; `limit` 0: the server has none."""

    used: int
    limit: int


class JobStore:
    """Named operations on job records."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def close(self) -> None:
        """Close the connections that all parts of the store share; a later call opens new ones."""
        self._db.close()

    # -- reading --------------------------------------------------------------------------------------------

    def spec(self, job_id: str) -> JobSpec:
        """Raises NotFound and NewerData."""
        raw = self._read(job_id)
        return JobSpec(
            id=job_id,
            lanes=lanes_of(raw),
            options=json.loads(raw.get("options", "{}")),
            schema=json.loads(raw["schema"]) if raw.get("schema") else None,
            schema_of=raw.get("schema_of") or None,
            priority=int(raw.get("priority", 5)),
            rpm=optional_int(raw.get("rpm")),
            concurrency=optional_int(raw.get("concurrency")),
            tpm=optional_int(raw.get("tpm")),
            deadline_ms=optional_int(raw.get("deadline")),
            total=int(raw["total"]),
            shards=int(raw["shards"]),
            created_ms=int(raw["created"]),
            retention_ms=int(raw.get("retention_ms", 0)),
            project=raw.get("project") or None,
            webhook=raw.get("webhook") or None,
            not_before_ms=int(raw.get("not_before") or 0),
            budgeted="max_nano" in raw,
            all_or_nothing=raw.get("all_or_nothing") == "1",
            destination=raw.get("out") or None,
            birth=raw.get("sub", ""),
        )

    def is_as(self, spec: JobSpec) -> bool:
        """Whether a job is still the one that was read, for the same project: `pin` changes that."""
        birth, project = self._db.command("HMGET", self._db.job_keys(spec.id).job, "sub", "project")
        return birth == spec.birth.encode() and (project or b"") == (spec.project or "").encode()

    def record(self, job_id: str, fresh: Forecast | None = None) -> JobRecord:
        """With what the sweeper noted of its end, or what is foreseen just now. Raises NotFound and NewerData."""
        keys = self._db.job_keys(job_id)
        with_scores = ("ZREVRANGE", keys.slow, 0, -1, "WITHSCORES")
        raw, slow, log, clock = self._db.batch(
            [("HGETALL", keys.job), with_scores, ("LRANGE", keys.log, 0, -1), ("TIME",)]
        )
        fields = self._checked(job_id, raw)
        now = self._db.now_ms or int(clock[0]) * 1000 + int(clock[1]) // 1000
        return record_of(job_id, fields, slowest_of(slow), log, now / 1000, fresh)

    def each(self, *, offset: int = 0, limit: int = LIST_PAGE) -> Iterator[JobRecord]:
        """Sealed jobs that can be read, newest first."""
        every = self.every(offset=offset, limit=limit)
        return (one for one in every if isinstance(one, JobRecord))

    def every(self, *, offset: int = 0, limit: int = LIST_PAGE) -> Iterator[JobRecord | NewerJob]:
        """Sealed jobs, newest first. Expired ones are dropped from the index on the way."""
        while True:
            page = [
                one.decode()
                for one in self._db.command("ZREVRANGE", self._db.keys.all, offset, offset + limit - 1)
            ]
            for job_id in page:
                try:
                    yield self.record(job_id)
                except NotFound:
                    if not self._db.command("EXISTS", self._db.job_keys(job_id).job):
                        self._db.command("ZREM", self._db.keys.all, job_id)
                except NewerData as exc:
                    yield NewerJob(job_id, str(exc))
            if len(page) < limit:
                return
            offset += limit

    def unfinished(self) -> Iterator[JobRecord]:
        """Jobs of which something is still to come, in no order, however many have ended since they began."""
        for job_id in self._db.command("ZRANGE", self._db.keys.due, 0, -1):
            try:
                record = self.record(job_id.decode())
            except (NotFound, NewerData):
                continue
            if record.state not in ENDED or record.finished_at is None:
                yield record

    def progress(self, job_id: str, lanes: int) -> Progress:
        keys = self._db.job_keys(job_id)
        of_lanes = [("HMGET", keys.lane(lane), "pending", "processing") for lane in range(lanes)]
        counts, *left = self._db.batch(
            [("HMGET", keys.job, "n_S", "n_F", "n_D", "n_X", "pace", "holds", "started"), *of_lanes]
        )
        return Progress(
            settled=sum(int(count or 0) for count in counts[:4]),
            left=tuple(sum(int(count or 0) for count in lane) for lane in left),
            pace=Pace.from_wire(counts[4].decode() if counts[4] else None),
            held=bool(counts[5]),
            now_ms=self._db.server_ms(),
            succeeded=int(counts[0] or 0),
            started_ms=int(counts[6]) if counts[6] else None,
        )

    def note_forecast(self, job_id: str, forecast: Forecast) -> None:
        fields = {
            "pace": forecast.pace.wire() if forecast.pace else "",
            "q_until": forecast.held_until_ms,
            "q_why": forecast.why,
            "w_until": forecast.until_ms,
            "q_name": forecast.quota,
            "ends": forecast.ends_ms,
        }
        flat = [part for name, value in fields.items() for part in (name, "" if value is None else value)]
        self._annotate(job_id, *flat)

    def _annotate(self, job_id: str, *fields: str | int) -> None:
        """Set fields of the record; of a job that was deleted meanwhile none come back."""
        self._db.run("annotate", [self._db.job_keys(job_id).job], fields)

    def digest(self, job_id: str) -> str:
        """Of the content, as its submission was sealed."""
        digest: bytes | None = self._db.command("HGET", self._db.job_keys(job_id).job, "digest")
        return (digest or b"").decode()

    def memory(self) -> Memory:
        """What the server uses and may use."""
        info = self._db.command("INFO", "memory")
        return Memory(int(info["used_memory"]), int(info.get("maxmemory", 0)))

    def state(self, job_id: str) -> JobState:
        """The state alone, cheaply. Raises NotFound and NewerData."""
        names = ("v", "state", "holds", "cancel")
        values = self._db.command("HMGET", self._db.job_keys(job_id).job, *names)
        pairs = {name.encode(): value for name, value in zip(names, values, strict=True) if value is not None}
        return state_of(self._checked(job_id, pairs))

    def _read(self, job_id: str) -> dict[str, str]:
        return self._checked(job_id, self._db.command("HGETALL", self._db.job_keys(job_id).job))

    def _checked(self, job_id: str, raw: Mapping[bytes, bytes]) -> dict[str, str]:
        if not raw or raw.get(b"state") == b"receiving":
            raise NotFound.job(job_id)
        if int(raw[b"v"]) > SCHEMA:
            raise NewerData(
                f"job {job_id} was stored by a newer batchq (schema {raw[b'v'].decode()}, mine {SCHEMA}): upgrade this one"
            )
        return {name.decode(): value.decode() for name, value in raw.items()}

    # -- moving ---------------------------------------------------------------------------------------------

    def hold(self, job_id: str, cause: HoldCause, why: str, by: str) -> bool:
        """Pause for one cause. False: it was paused for it already. Raises NotFound, Conflict."""
        return self._hold(job_id, "1", cause, why, change_line("paused", by, why), "")

    def unhold(self, job_id: str, cause: HoldCause | None, by: str, *, max_cost: float | None = None) -> bool:
        """Lift one cause (None: all); with `max_cost`, USD, the job may cost so much from now on.

        False: nothing changed. Raises NotFound, Conflict (it has ended), InputError (no limit, or one that is spent).
        """
        why = (
            "held no more"
            + (f": {cause}" if cause else "")
            + (f"; max_cost {max_cost:g}" if max_cost else "")
        )
        max_nano = "" if max_cost is None else round(max_cost * NANO)
        done = self._hold(job_id, "0", cause or "all", "", change_line("resumed", by, why), max_nano)
        self.wake(job_id)
        return done

    def _hold(self, job_id: str, on: str, cause: str, why: str, change: str, max_nano: int | str) -> bool:
        keys = self._db.job_keys(job_id)
        args = [self._db.now_arg, SCHEMA, on, cause, why, change, max_nano]
        reply = self._db.run("hold", [keys.job, keys.log, keys.events], args)
        if reply[0] == b"unlimited":
            raise InputError(f"job {job_id} was submitted without a cost limit, and none can be set now")
        if reply[0] == b"spent":
            raise InputError(
                f"job {job_id} has spent {money(int(reply[1]) / NANO)} already: max_cost must be above that"
            )
        return self._moved(job_id, reply)

    def cancel(self, job_id: str, *, cause: str = "cancel", by: str, why: str = "") -> bool:
        """Nothing more goes out. False: it was cancelled already. Raises NotFound, Conflict (it has ended)."""
        keys = self._db.job_keys(job_id)
        change = change_line("cancelled" if cause == "cancel" else "deadline passed", by, why)
        moved = self._moved(
            job_id, self._db.run("cancel", [keys.job, keys.log], [self._db.now_arg, SCHEMA, cause, change])
        )
        self.wake(job_id)
        return moved

    def cancel_sweep(self, job_id: str, lanes: int) -> bool:
        """Settle a slice of what is pending of a cancelled job. True: there is more."""
        keys = self._db.job_keys(job_id)
        reply = self._db.run(
            "cancel_sweep",
            [keys.job, keys.shards, keys.states, keys.flight, *keys.lanes(lanes)],
            [SCHEMA, CANCEL_SHARDS],
        )
        return bool(reply[0] == b"1")

    def pin(self, job_id: str, project: str) -> None:
        """From now on only workers of this project ask the job's models."""
        self._read(job_id)
        self._annotate(job_id, "project", project)

    def has_ended(self, job_id: str) -> bool:
        """Whether its end is written: a job shows as cancelled before that."""
        state = self._db.command("HGET", self._db.job_keys(job_id).job, "state")
        return state is not None and JobState(state.decode()) in ENDED

    def finish_begin(self, job_id: str, owner: str) -> int | None:
        """The generation to commit, or None: not finished, finished already, or somebody else is at it."""
        reply = self._db.run(
            "finish_begin",
            [self._db.job_keys(job_id).job],
            [self._db.now_arg, SCHEMA, owner, FINISHER_STALE_MS],
        )
        return int(reply[1]) if reply[0] == b"ok" else None

    def finish_commit(self, spec: JobSpec, owner: str, generation: int, failure: str = "") -> JobState | None:
        """The end state, or None when a redrive opened the job again meanwhile. `failure`: why the job failed."""
        keys = self._db.job_keys(spec.id)
        every = keys.all(len(spec.lanes))
        named = [keys.job, keys.log, keys.events]
        rest = [key for key in every if key not in named]
        reply = self._db.run(
            "finish_commit",
            [*named, *rest],
            [
                self._db.now_arg,
                owner,
                generation,
                spec.retention_ms,
                failure,
                change_line("failed", "worker", failure),
            ],
        )
        if reply[0] != b"ok":
            return None
        if spec.webhook is None:
            self.forget(spec.id)
        else:  # it never leaves the agenda before its webhook has heard of its end, whoever dies meanwhile
            self.wake(spec.id)
        return JobState(reply[1].decode())

    def _moved(self, job_id: str, reply: Sequence[bytes]) -> bool:
        answer = [part.decode() for part in reply]
        if answer[0] == "gone":
            raise NotFound.job(job_id)
        if answer[0] == "newer":
            raise NewerData(f"job {job_id} was stored by a newer batchq: upgrade this one")
        if answer[0] == "ended":
            raise Conflict(f"job {job_id} is {answer[1]} already")
        return answer[0] == "ok"

    def note(self, job_id: str, change: str, by: str, why: str = "") -> None:
        """Add a line to the history."""
        now = self._db.server_ms() / 1000
        line = json.dumps({"time": now, "change": change, "by": by, "why": why})
        keys = self._db.job_keys(job_id)
        self._db.run("note", [keys.job, keys.log], [line])

    def delete(self, job_id: str) -> None:
        """Remove every key of an ended job. Raises NotFound, NewerData, Conflict (it has not ended)."""
        reply = self._db.run("delete", self._db.job_keys(job_id).all(MAX_LANES), [SCHEMA])
        if reply[0] == b"open":
            raise Conflict(f"job {job_id} has not ended: cancel it first")
        if reply[0] == b"cancelled":
            left = count(int(reply[1]), "call")
            raise Conflict(
                f"job {job_id} is cancelled, with {left} still under way: delete it when it has ended"
            )
        self._moved(job_id, reply)
        leave_lists(self._db, job_id)

    def server_ms(self) -> int:
        """The store's clock, Unix milliseconds."""
        return self._db.server_ms()

    # -- the sweeper's agenda -------------------------------------------------------------------------------

    def due(self, limit: int) -> list[str]:
        """Open jobs whose next check is due, the longest waiting first."""
        now = self._db.server_ms()
        found = self._db.command("ZRANGEBYSCORE", self._db.keys.due, "-inf", now, "LIMIT", 0, limit)
        return [one.decode() for one in found]

    def check_again(self, job_id: str, after_ms: int) -> None:
        self._db.command("ZADD", self._db.keys.due, "XX", self._db.server_ms() + after_ms, job_id)

    def wake(self, job_id: str) -> None:
        """Have the sweeper look at the job in its next round."""
        self._db.command("ZADD", self._db.keys.due, self._db.server_ms(), job_id)

    def exists(self, job_id: str) -> bool:
        """Whether anything is stored under the id, also a submission that is not sealed."""
        return bool(self._db.command("EXISTS", self._db.job_keys(job_id).job))

    def forget(self, job_id: str) -> None:
        """Take an ended job off the agenda, unless a redrive has opened it again."""
        self._db.command("ZREM", self._db.keys.due, job_id)
        if self.exists(job_id) and not self.has_ended(job_id):
            self.wake(job_id)
