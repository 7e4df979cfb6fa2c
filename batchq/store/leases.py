"""What is asked of the moves of an item, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from batchq.core.lifecycle import ItemByte
from batchq.core.records import NO_USAGE, Attempt, History, Usage


@dataclass(frozen=True, slots=True)
class Take:
    """Items taken for a wave; one ticket for all."""

    ticket: int
    positions: tuple[int, ...]


class Verdict(StrEnum):
    """What a claim was answered."""

    OK = "ok"
    BUSY = "busy"  # a doubled message: somebody else is at it
    SETTLED = "settled"
    CANCELLED = "cancelled"
    PAUSED = "paused"  # the item went back
    SUPERSEDED = "superseded"  # it went back or out again since the message was sent
    GONE = "gone"
    NEWER = "newer"
    OTHER = "other"  # the job of this id is not the one that the claimer knows


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    position: int
    ticket: int
    nonce: str  # asking again with the same one gives the same answer
    begun: bool  # the call starts at once, without waiting for a permit


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to settle an item. `attempts` counts the call that `begun` announced, if it did."""

    position: int
    nonce: str
    shard: int
    attempts: int
    crashes: int
    limited: int  # refusals for rate so far
    waited_ms: int
    history: History


@dataclass(frozen=True, slots=True)
class Claimed:
    verdict: Verdict
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Bid:
    """What a call may cost, in nano-dollars. `most_output` tokens come of it at most; 0: nobody said."""

    input_nano: int
    token_nano: float  # an output token
    most_output: int


class ReleaseKind(StrEnum):
    RETRY = "retry"  # an attempt was used up
    LIMITED = "limited"  # refused for rate: no attempt
    AWAY = "away"  # nobody is answered: no attempt
    FATAL = "fatal"  # the job cannot be served: no attempt
    CUT = "cut"  # its worker was going and waited no longer for the call: no attempt
    LOST = "lost"  # the server forgot what became of it: the call is made again
    UNUSED = "unused"  # no call was made: no attempt, and no request


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    position: int
    nonce: str
    kind: ReleaseKind
    delay_ms: int
    by_message: bool = False  # a Celery retry brings it back; else the store does, when it is due
    waited_ms: int = 0
    attempt: Attempt | None = None  # for the history
    usage: Usage = NO_USAGE
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """`answer`: retry (with the ticket of the message to send), back, cancelled, stale."""

    answer: str
    ticket: int = 0
    job_held: bool = False


@dataclass(frozen=True, slots=True)
class SettleRequest:
    position: int
    nonce: str
    byte: ItemByte
    outcome: bytes  # codec.pack_outcome
    bucket: int | None  # of the latency; None: there was no call
    duration_ms: int
    usage: Usage  # of the last attempt; earlier ones came with their release
    cost_usd: float | None
    kind: str  # of the error; "" for success


@dataclass(frozen=True, slots=True)
class Settled:
    """`answers`: ok, settled or stale for each request, in order."""

    answers: tuple[str, ...]
    done: bool  # nothing is left of the job
    refill: bool  # the window has room, and the caller is the one to fill it
    complete: tuple[int, ...]  # shards


@dataclass(frozen=True, slots=True)
class Healed:
    back: int = 0
    poisoned: int = 0
    cancelled: int = 0
    lost_calls: int = 0
    shards: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RedriveRequest:
    """A dead letter to send back. `history` is kept for it where its shard's blob does not have it."""

    position: int
    shard: int
    kind: str  # of its error
    history: History = ()
