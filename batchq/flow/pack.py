"""Items that go together: one message, one permit and one call for many, and an outcome for each of them.

A pack is claimed as a list, and each item keeps its own lease, attempts and history. It is cut into calls as the
provider, the quotas and what happened to its items before allow. A call that is refused for good is made again in
halves, until the one it was refused for stands alone.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from batchq.core import retry
from batchq.core.discreet import trace_of
from batchq.core.lifecycle import ItemState
from batchq.core.records import Outcome, Usage
from batchq.core.tokens import Estimate
from batchq.errors import ProviderError, Rejected
from batchq.flow.ask import ask_together, prepared
from batchq.flow.budget import WAIT_MS, reserve
from batchq.flow.calls import CutShort
from batchq.flow.outcome import failure, success
from batchq.flow.packing import Pack, Part, cut
from batchq.flow.patience import GaveUp, patiently
from batchq.flow.permit import Permit, TooLarge, TooLong
from batchq.flow.process import SUSPECT_WAIT_MS, SendAgain, is_ours, pass_on, too_large_for
from batchq.flow.settle import (
    Leaving,
    by_message,
    follow_up,
    leaving,
    log_settled,
    release_request,
    settle_request,
)
from batchq.flow.task import Asked, PackMessage, Task
from batchq.flow.verdict import HELD_MS, decide_together
from batchq.flow.walk import Walk
from batchq.operations.base import PackedOperation
from batchq.store.job_record import JobSpec, Lane
from batchq.store.leases import ClaimRequest, Released, ReleaseKind, ReleaseRequest, Verdict

log = logging.getLogger("batchq")

PLACE_S = 0.25  # between two looks whether the process is to stop, while others' packs are under way


def process_pack(message: PackMessage, walk: Walk) -> SendAgain | None:
    """Run the items of a message. Raises nothing; None when the message has done its work, whatever that was."""
    try:
        return _process(message, walk)
    except GaveUp:
        return None  # the leases, if there are any, end with this process
    except Exception as exc:
        # a header task that raises costs its chord the callback; the leases end by themselves and the items come back
        place = (message.job_id, message.positions[0], trace_of(exc))
        log.error("job %s, pack from item %d: unexpected error; it will come back: %s", *place)
        return None


def _process(message: PackMessage, walk: Walk) -> SendAgain | None:
    named = walk.lane_of_message(message.job_id, message.lane)
    if named is None:
        return None
    spec, lane = named
    places = walk.pack_places(lane.model)
    while not places.acquire(timeout=PLACE_S):
        if walk.stopping:
            return None  # unclaimed: the sweeper sends them again
    try:
        return _process_here(message, walk, spec, lane)
    finally:
        places.release()


def _process_here(message: PackMessage, walk: Walk, spec: JobSpec, lane: Lane) -> SendAgain | None:
    tasks = _claim(message, walk, spec, lane)
    if not tasks:
        return None
    first = tasks[0]
    spec, lane = first.spec, first.lane  # perhaps another job of this id than the message seemed to name
    operation = walk.packed(lane.operation)
    run = _Run(walk, first)
    if walk.stopping:
        run.give_back(tasks, 0)
        return None
    if operation is None or not is_ours(spec, lane, walk):
        pass_on(walk, spec, partial(run.give_back, tasks))
        return None
    return run.run(tasks, operation)


def _claim(message: PackMessage, walk: Walk, spec: JobSpec, lane: Lane) -> list[Task]:
    ledger, passage = walk.ledger.lane(spec, lane.number), walk.gates.of(spec, lane)
    claims = [
        ClaimRequest(position, message.ticket, secrets.token_hex(6), begun=False)
        for position in message.positions
    ]
    answers = ledger.claim_pack(claims)
    if answers[0].verdict is Verdict.OTHER:
        walk.specs.drop(spec.id)
        named = walk.lane_of_message(message.job_id, message.lane)
        return _claim(message, walk, *named) if named is not None else []
    return [
        Task(spec, lane, claimed.lease, ledger, passage)
        for claimed in answers
        if claimed.verdict is Verdict.OK and claimed.lease is not None
    ]


class _Run:
    """The claimed items of one message, on their way to their outcomes. `first` is any of them."""

    def __init__(self, walk: Walk, first: Task) -> None:
        self._walk, self._spec, self._lane = walk, first.spec, first.lane
        self._ledger, self._passage = first.ledger, first.passage
        # all calls begin within the patience for one permit, so no lease outlives its longest time
        self._ends = time.monotonic() + walk.settings.permit_wait_s
        self._again: SendAgain | None = None

    def run(self, tasks: Sequence[Task], operation: PackedOperation) -> SendAgain | None:
        waiting = deque(cut(self._prepare(tasks), operation, self._walk))
        while waiting:
            pack = waiting.popleft()
            if self._walk.stopping or time.monotonic() > self._ends:
                self._give_back(pack, 0)
            else:
                waiting.extendleft(reversed(self._guarded(pack, operation)))
        return self._again

    def _prepare(self, tasks: Sequence[Task]) -> list[Part]:
        """The items of which something can be sent; the others fail alone."""
        parts: list[Part] = []
        for task in tasks:
            call = prepared(task, self._walk)
            if isinstance(call, ProviderError):
                self._end_alone(task, call)
            else:
                parts.append(Part(task, call))
        return parts

    # -- one call -------------------------------------------------------------------------------------------

    def _guarded(self, pack: Pack, operation: PackedOperation) -> list[Pack]:
        if not pack.is_suspect:
            return self._send(pack, operation)
        if not self._walk.suspect.acquire(blocking=False):
            self._give_back(pack, SUSPECT_WAIT_MS)
            return []
        try:
            return self._send(pack, operation)
        finally:
            self._walk.suspect.release()

    def _send(self, pack: Pack, operation: PackedOperation) -> list[Pack]:
        """Make the call, and see to its items. What is to be sent in its place comes back."""
        self._walk.warm()
        estimate = self._estimate(pack)
        upper, usual = (estimate.upper, estimate.usual) if estimate is not None else (0, 0)
        permit = self._passage.wait(self._ends - time.monotonic(), upper, usual, len(pack.parts))
        if isinstance(permit, TooLarge):
            if len(pack.parts) > 1:
                return pack.halves(pack.refused)
            self._end_alone(pack.tasks[0], too_large_for(permit))
            return []
        if isinstance(permit, TooLong):
            self._give_back(pack, min(HELD_MS, permit.due_ms) if not self._walk.stopping else 0)
            return []
        begun = self._begin(pack, permit)
        if begun is None:
            self._passage.unused(permit)
            return []
        return self._call(begun, permit, estimate, operation)

    def _estimate(self, pack: Pack) -> Estimate | None:
        if not patiently(self._passage.counts_tokens, self._walk.stop.is_set):
            return None
        return self._passage.estimate([part.call for part in pack.parts])

    def _begin(self, pack: Pack, permit: Permit) -> Pack | None:
        """The items of a pack whose calls may be made now; None: none of them."""
        if pack.refused is not None:
            return pack
        if self._spec.budgeted:
            pack = self._within_budget(pack)
            if not pack.parts:
                return None
        answers = self._ledger.begin_pack([task.lease for task in pack.tasks])
        self.give_back(
            [task for task, answer in zip(pack.tasks, answers, strict=True) if answer not in ("ok", "stale")],
            0,
        )
        parts = [
            _begun(part, permit) for part, answer in zip(pack.parts, answers, strict=True) if answer == "ok"
        ]
        return Pack(tuple(parts)) if parts else None

    def _within_budget(self, pack: Pack) -> Pack:
        """What the job's cost limit leaves of it; the rest goes back."""
        answers = reserve(self._walk, pack.tasks, [part.call for part in pack.parts])
        told = list(zip(pack.parts, answers, strict=True))
        self.give_back([part.task for part, answer in told if answer not in ("ok", "stale")], WAIT_MS)
        return Pack(tuple(part for part, answer in told if answer == "ok"))

    def _call(
        self, pack: Pack, permit: Permit, estimate: Estimate | None, operation: PackedOperation
    ) -> list[Pack]:
        passage = self._passage
        try:
            asked = ask_together(pack.tasks, [part.call for part in pack.parts], operation, self._walk)
            error = asked[0].error
            halved = isinstance(error, Rejected) and len(pack.parts) > 1
            # the fleet hears of a refusal before the permit ends: until then no other call asks in its place
            decisions = [] if error is None or halved else decide_together(pack.tasks, self._walk, error)
        except CutShort:
            passage.done(permit, None, Usage(), answered=False)
            self.give_back(pack.tasks, 0, ReleaseKind.CUT)
            return []
        except BaseException:
            passage.done(permit, None, Usage(), answered=False)
            raise
        if asked[0].called:
            usage = sum((one.usage for one in asked), Usage())
            passage.done(permit, estimate, usage, answered=error is None)
        else:
            passage.unused(permit)
        if halved:
            return pack.halves(asked[0])
        if error is None:
            self._settle(
                [
                    (task, one, success(task, self._walk, one, one.answer))
                    for task, one in zip(pack.tasks, asked, strict=True)
                    if one.answer is not None
                ]
            )
        else:
            self._fail(pack.tasks, asked[0], decisions)
        return []

    # -- their ends -----------------------------------------------------------------------------------------

    def _fail(self, tasks: Sequence[Task], asked: Asked, decisions: Sequence[retry.Decision]) -> None:
        if not asked.called:
            tasks = [_without_attempt(task) for task in tasks]
        given_up: list[tuple[Task, Asked, Outcome]] = []
        left: list[tuple[Task, Leaving]] = []
        for task, decision in zip(tasks, decisions, strict=True):
            if isinstance(decision, retry.GiveUp):
                given_up.append((task, asked, failure(task, self._walk, asked, decision)))
            else:
                left.append((task, leaving(task, self._walk, asked, decision)))
        self._settle(given_up)
        self._release(left, asked)

    def _settle(self, ended: Sequence[tuple[Task, Asked, Outcome]]) -> None:
        if not ended:
            return
        requests = [settle_request(task, self._walk, asked, outcome) for task, asked, outcome in ended]
        answers = self._ledger.settle_pack(requests)
        for (task, _, outcome), request, answer in zip(ended, requests, answers, strict=True):
            if answer.answer == "ok":
                log_settled(task, self._walk, outcome, request.bucket)
        follow_up(self._walk, self._spec, answers[0])

    def _release(self, left: Sequence[tuple[Task, Leaving]], asked: Asked) -> None:
        """Give up what goes out again. One message can take them along: a second call's wait in the store."""
        if not left:
            return
        requests = [
            release_request(
                task,
                self._walk,
                asked,
                # a call that no job could make is one, however many items were in it
                leave
                if number == 0 or leave.kind is not ReleaseKind.FATAL
                else replace(leave, kind=ReleaseKind.AWAY),
                by_message=self._again is None and by_message(self._walk, leave),
            )
            for number, (task, leave) in enumerate(left)
        ]
        released = self._do_release(requests, left[0][1].why)
        positions = tuple(
            request.position
            for request, answer in zip(requests, released, strict=True)
            if answer.answer == "retry"
        )
        if positions:
            ticket = next(answer.ticket for answer in released if answer.answer == "retry")
            self._again = SendAgain(ticket, left[0][1].delay_ms, positions)

    def _end_alone(self, task: Task, error: ProviderError) -> None:
        """Settle an item of which nothing was sent."""
        asked = Asked(None, error, int(time.time() * 1000), 0, Usage(), called=False)
        state = ItemState.FAILED if isinstance(error, Rejected) else ItemState.DEAD_LETTER
        decision = retry.GiveUp(state, error.kind, error.message)
        self._settle([(task, asked, failure(task, self._walk, asked, decision))])

    def _give_back(self, pack: Pack, delay_ms: int) -> None:
        """A pack that cannot be sent now. What was refused in a larger one comes back in a smaller: that attempt
        counts."""
        if pack.refused is None:
            self.give_back(pack.tasks, delay_ms)
            return
        leave = Leaving(ReleaseKind.RETRY, delay_ms)
        self._do_release(
            [release_request(task, self._walk, pack.refused, leave, by_message=False) for task in pack.tasks]
        )

    def give_back(self, tasks: Sequence[Task], delay_ms: int, kind: ReleaseKind = ReleaseKind.UNUSED) -> None:
        """Nothing came of them; they are pending again at once or when they are due."""
        if tasks:
            self._do_release(
                [ReleaseRequest(task.lease.position, task.lease.nonce, kind, delay_ms) for task in tasks]
            )

    def _do_release(self, requests: Sequence[ReleaseRequest], why: str = "") -> Sequence[Released]:
        return self._ledger.release(requests, fatal_limit=self._walk.settings.fatal_in_a_row, why=why)


def _begun(part: Part, permit: Permit) -> Part:
    task = part.task
    lease = replace(task.lease, attempts=task.lease.attempts + 1)
    return replace(
        part, task=replace(task, lease=lease, permit=permit), call=replace(part.call, attempt=lease.attempts)
    )


def _without_attempt(task: Task) -> Task:
    return replace(task, lease=replace(task.lease, attempts=task.lease.attempts - 1))
