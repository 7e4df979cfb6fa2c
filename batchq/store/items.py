"""The moves of an item: taken, claimed, called, released, settled, healed, redriven."""

from __future__ import annotations

import json
from collections.abc import Sequence

from batchq.core.records import Attempt, ErrorInfo, Usage
from batchq.errors import Conflict, NewerData, NotFound
from batchq.store import codec
from batchq.store.database import Arg, Database
from batchq.store.job_record import NANO, JobSpec, change_line
from batchq.store.keys import SCHEMA
from batchq.store.leases import (
    Bid,
    Claimed,
    ClaimRequest,
    Healed,
    Lease,
    RedriveRequest,
    Released,
    ReleaseRequest,
    Settled,
    SettleRequest,
    Take,
    Verdict,
)

BUDGET_WHY = (  # limit, spent, next call, see reserve.lua
    "the cost limit of %s is reached: %s are spent and the next call may cost %s; `batchq resume JOB --max-cost USD` "
    "goes on with a higher one"
)


def poison_outcome(crashes: int) -> str:
    """The outcome heal.lua writes; %d and %s stand for the item's attempts and history."""
    message = f"{crashes} workers died while they ran this item"
    error = json.dumps(ErrorInfo(0, "POISON", message).wire(), separators=(",", ":"))
    return '{"s":"dead_letter","e":' + error + ',"a":%d,"h":%s}'


class ItemStore:
    """Named operations on the items of jobs. Lists are one call to the server, whatever their length."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def take(self, job_id: str, lane: int, most: int, window: int) -> Take:
        """Take up to `most` items of a lane for a wave, within its window of items in flight."""
        keys = self._db.job_keys(job_id)
        reply = self._db.run(
            "take",
            [keys.job, keys.shards, keys.states, keys.flight, keys.lane(lane), keys.back(lane)],
            [self._db.now_arg, SCHEMA, self._db.dark_ms, lane, most, window],
        )
        return Take(int(reply[0]), tuple(int(one) for one in reply[1:])) if reply else Take(0, ())

    def claim(
        self, job_id: str, lane: int, owner: str, requests: Sequence[ClaimRequest], birth: str = ""
    ) -> list[Claimed]:
        """`birth` is that of the job that the claimer knows under this id; "" for whichever is there."""
        keys = self._db.job_keys(job_id)
        args: list[Arg] = [self._db.now_arg, SCHEMA, self._db.dark_ms, owner, birth]
        for one in requests:
            args += (one.position, one.ticket, one.nonce, int(one.begun))
        replies = self._db.run(
            "claim", [keys.job, keys.states, keys.flight, keys.lane(lane), keys.back(lane)], args
        )
        return [_claimed(one, reply) for one, reply in zip(requests, replies, strict=True)]

    def mark_begun(self, job_id: str, owner: str, leases: Sequence[Lease]) -> list[str]:
        """ok, stale, cancelled or paused for each: the call may be made only after ok."""
        keys = self._db.job_keys(job_id)
        args: list[Arg] = [owner]
        for lease in leases:
            args += (lease.position, lease.nonce)
        return [reply[0].decode() for reply in self._db.run("mark_begun", [keys.job, keys.flight], args)]

    def reserve(self, job_id: str, owner: str, bids: Sequence[tuple[Lease, Bid]]) -> list[str]:
        """Set aside what calls may cost: ok, wait, held (the job is, now) or stale for each."""
        keys = self._db.job_keys(job_id)
        change = change_line("paused", "worker", "%s")
        args: list[Arg] = [self._db.now_arg, owner, BUDGET_WHY, change]
        for lease, bid in bids:
            args += (lease.position, lease.nonce, bid.input_nano, bid.token_nano, bid.most_output)
        replies = self._db.run("reserve", [keys.job, keys.flight, keys.log, keys.events], args)
        return [reply[0].decode() for reply in replies]

    def release(
        self,
        job_id: str,
        lane: int,
        owner: str,
        requests: Sequence[ReleaseRequest],
        *,
        fatal_limit: int,
        why: str = "",
    ) -> list[Released]:
        """Give up leases without settling. `why` is the reason of the hold that fatal errors bring."""
        keys = self._db.job_keys(job_id)
        change = change_line("paused", "worker", why)
        args: list[Arg] = [self._db.now_arg, self._db.dark_ms, owner, fatal_limit, why, change]
        for one in requests:
            error = codec.dump(one.attempt.wire()) if one.attempt else ""
            args += (
                one.position,
                one.nonce,
                one.delay_ms,
                one.kind,
                int(one.by_message),
                one.waited_ms,
                error,
            )
            args += _usage_args(one.usage, one.cost_usd)
        used = [keys.job, keys.states, keys.flight, keys.lane(lane), keys.back(lane), keys.log, keys.events]
        replies = self._db.run("release", used, args)
        held = replies[-1][0] == b"held"
        return [
            Released(reply[0].decode(), int(reply[1]) if len(reply) > 1 else 0, held)
            for reply in replies[:-1]
        ]

    def leases_of(self, job_id: str, owner: str) -> list[tuple[int, int, str]]:
        """What stands as leased to a process: lane, position and nonce of each."""
        found = []
        for position, raw in self._db.scan_hash(self._db.job_keys(job_id).flight):
            parts = raw.decode().split("|", 12)  # see include/flight.lua
            if parts[10] == owner:
                found.append((int(parts[0]), int(position), parts[11]))
        return found

    def settle(self, job_id: str, lane: int, owner: str, requests: Sequence[SettleRequest]) -> Settled:
        keys = self._db.job_keys(job_id)
        args: list[Arg] = [self._db.now_arg, owner, self._db.letter_limit]
        for one in requests:
            bucket = "" if one.bucket is None else one.bucket
            args += (one.position, one.nonce, one.byte, one.outcome, bucket, one.duration_ms)
            args += (*_usage_args(one.usage, one.cost_usd), one.kind)
        used = [
            keys.job,
            keys.states,
            keys.flight,
            keys.lane(lane),
            keys.results,
            keys.slow,
            keys.shards,
            keys.box,
        ]
        *answers, flags = self._db.run("settle", used, args)
        return Settled(
            tuple(answer[0].decode() for answer in answers),
            done=flags[0] == b"1",
            refill=flags[1] == b"1",
            complete=tuple(int(shard) for shard in flags[2:]),
        )

    def heal(
        self,
        spec: JobSpec,
        *,
        alive: Sequence[str],
        grace_until_ms: int,
        lease_ms: int,
        lease_max_ms: int,
        undelivered_ms: int,
        max_crashes: int,
    ) -> Healed:
        """Bring back what dead workers and lost messages left behind, the whole flight in slices."""
        keys = self._db.job_keys(spec.id)
        cursor, counts, shards = "0", [0, 0, 0, 0], set[int]()
        while True:
            head: list[Arg] = [self._db.now_arg, SCHEMA, cursor, self._db.dark_ms, grace_until_ms]
            limits: list[Arg] = [
                lease_ms,
                lease_max_ms,
                undelivered_ms,
                max_crashes,
                poison_outcome(max_crashes),
                self._db.letter_limit,
            ]
            reply = self._db.run(
                "heal",
                [keys.job, keys.states, keys.flight, keys.results, keys.box, *keys.lanes(len(spec.lanes))],
                [*head, *limits, *alive],
            )
            cursor = reply[0].decode()
            counts = [total + int(part) for total, part in zip(counts, reply[1:5], strict=True)]
            shards.update(int(one) for one in reply[5:])
            if cursor == "0":
                back, poisoned, cancelled, lost_calls = counts
                return Healed(back, poisoned, cancelled, lost_calls, tuple(sorted(shards)))

    def redrive(
        self,
        job_id: str,
        lane: int,
        requests: Sequence[RedriveRequest],
        *,
        first: bool,
        change: str,
        lanes: int,
    ) -> int:
        """Send dead letters back as pending. Returns how many were."""
        keys = self._db.job_keys(job_id)
        used = [keys.job, keys.states, keys.results, keys.log, keys.lane(lane), keys.past]
        rest = [key for key in keys.all(lanes) if key not in used]
        args: list[Arg] = [self._db.now_arg, SCHEMA, int(first), change]
        for one in requests:
            past = codec.pack_history(one.history) if one.history else ""
            args += (one.position, one.shard, one.kind, past)
        # On the agenda before and after: before, should this process die in between; after, should a sweeper
        # have looked in between and found the job ended still.
        put_on_agenda = ("ZADD", self._db.keys.due, self._db.server_ms(), job_id)
        self._db.command(*put_on_agenda)
        answer = self._db.run("redrive", [*used, *rest], args)
        if answer[0] == b"gone":
            raise NotFound.job(job_id)
        if answer[0] == b"newer":
            raise NewerData(f"job {job_id} was stored by a newer batchq: upgrade this one")
        if answer[0] == b"ended":
            raise Conflict(f"job {job_id} is cancelled: its dead letters cannot be redriven")
        if int(answer[1]):
            self._db.command(*put_on_agenda)
        return int(answer[1])


def _usage_args(usage: Usage, cost_usd: float | None) -> tuple[int, int, int, int]:
    return usage.input_tokens, usage.output_tokens, usage.cached_tokens, round((cost_usd or 0.0) * NANO)


def _claimed(request: ClaimRequest, reply: Sequence[bytes]) -> Claimed:
    verdict = Verdict(reply[0].decode())
    if verdict is not Verdict.OK:
        return Claimed(verdict)
    shard, attempts, crashes, limited, waited = (int(part) for part in reply[1:6])
    history = tuple(Attempt.from_wire(line) for line in json.loads(reply[6]))
    return Claimed(
        verdict, Lease(request.position, request.nonce, shard, attempts, crashes, limited, waited, history)
    )
