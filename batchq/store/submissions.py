"""A job while it is being received: opened, filled shard by shard, sealed; or given up and swept away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from batchq.errors import BatchqError, Conflict, NewerData
from batchq.store.database import Database
from batchq.store.job_record import Lane, change_line
from batchq.store.keys import MAX_LANES, SCHEMA


class SubmissionStore:
    """Named operations on submissions. Each is known by a nonce: a new one takes over from a dead one."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def begin(self, job_id: str, submission: str, fields: Mapping[str, str | int], stale_ms: int) -> str:
        """Open a job for receiving: new, taken_over, busy or exists. It is in no list until it is sealed."""
        keys = self._db.job_keys(job_id)
        args = [
            self._db.now_arg,
            SCHEMA,
            submission,
            stale_ms,
            *(part for pair in fields.items() for part in pair),
        ]
        reply = self._db.run("begin", [keys.job], args)
        if reply[0] == b"stale":
            reply = self._db.run("begin", keys.all(MAX_LANES), args)
        answer = str(reply[0].decode())
        if answer == "newer":
            raise NewerData(f"job {job_id} was stored by a newer batchq: upgrade this one")
        if answer in ("new", "taken_over"):
            now = int(reply[1])
            # before it is sealed, so that a submission broken off right after the seal is found by the sweeper
            try:
                self._db.batch(
                    [
                        ("ZADD", self._db.keys.due, now + stale_ms, job_id),
                        ("ZADD", self._db.keys.all, now, job_id),
                    ]
                )
            except BatchqError:
                with suppress(BatchqError):  # no sweeper would find it
                    self.abandon(job_id, submission)
                raise
        return answer

    def beat(self, job_id: str, submission: str) -> bool:
        keys = self._db.job_keys(job_id)
        reply = self._db.run("beat_submission", [keys.job], [self._db.now_arg, submission])
        return bool(reply[0] == b"ok")

    def put_shard(
        self,
        job_id: str,
        submission: str,
        *,
        number: int,
        base: int,
        lane: int,
        blob: bytes,
        states: str,
        settled: Sequence[tuple[int, bytes, str]],
    ) -> None:
        """Store a shard. `settled` holds position, outcome and error kind of the items whose state is F."""
        keys = self._db.job_keys(job_id)
        flat = [part for one in settled for part in one]
        reply = self._db.run(
            "put_shard",
            [keys.job, keys.shards, keys.states, keys.input, keys.lane(lane), keys.results],
            [self._db.now_arg, submission, number, base, lane, blob, states, *flat],
        )
        self._expect_ours(reply, job_id)

    def put_file(self, job_id: str, submission: str, digest: str, data: bytes) -> None:
        keys = self._db.job_keys(job_id)
        self._expect_ours(
            self._db.run("put_file", [keys.job, keys.files], [submission, digest, data]), job_id
        )

    def seal(
        self, job_id: str, submission: str, total: int, digest: str, lanes: Sequence[Lane], why: str = ""
    ) -> None:
        """From now on the job exists; `why` stands in its history. Repeating it after a lost reply is safe."""
        keys = self._db.job_keys(job_id)
        wire = json.dumps([lane.wire() for lane in lanes])
        args = [self._db.now_arg, submission, total, digest, wire, change_line("submitted", "submitter", why)]
        reply = self._db.run("seal", [keys.job, keys.log], args)
        self._expect_ours(reply, job_id)
        with suppress(BatchqError):  # it is accepted, and on the agenda since it began
            self._db.command("ZADD", self._db.keys.due, int(reply[1]), job_id)

    def _expect_ours(self, reply: Sequence[bytes], job_id: str) -> None:
        if reply[0] == b"not_yours":
            raise Conflict(f"job {job_id} was taken over by another submission with the same key")
        if reply[0] != b"ok":
            raise BatchqError(f"job {job_id} cannot be sealed: the store holds {reply[1].decode()} items")

    def abandon(self, job_id: str, submission: str | None = None) -> None:
        """Drop what a broken-off submission left; with a nonce only when it is still that one's."""
        state, owner = self._db.command("HMGET", self._db.job_keys(job_id).job, "state", "sub")
        if state == b"receiving" and (submission is None or owner == submission.encode()):
            self._db.command("UNLINK", *self._db.job_keys(job_id).all(MAX_LANES))
            leave_lists(self._db, job_id)

    def stale(self, job_id: str, stale_ms: int) -> bool:
        """Whether the job is still being received by a submitter that has gone silent."""
        state, beat = self._db.command("HMGET", self._db.job_keys(job_id).job, "state", "sub_beat")
        return state == b"receiving" and self._db.server_ms() - int(beat) > stale_ms


def leave_lists(database: Database, job_id: str) -> None:
    """The job is in no list any more, nor on the sweeper's agenda."""
    database.batch([("ZREM", database.keys.due, job_id), ("ZREM", database.keys.all, job_id)])
