"""One item, from its message to its outcome: claim, permit, call, settle or give back."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from batchq.core import retry
from batchq.core.discreet import trace_of
from batchq.core.lifecycle import ItemState
from batchq.core.records import Answer, Outcome, Usage
from batchq.errors import BatchqError, ProviderError, Unsendable
from batchq.flow.ask import ask, call_of, item_of, upload
from batchq.flow.budget import WAIT_MS, reserve
from batchq.flow.calls import CutShort
from batchq.flow.outcome import failure, success
from batchq.flow.patience import GaveUp, patiently
from batchq.flow.permit import TooLarge, TooLong
from batchq.flow.settle import (
    by_message,
    follow_up,
    leaving,
    log_settled,
    release_request,
    send_again,
    settle_request,
)
from batchq.flow.task import Asked, ItemMessage, Task
from batchq.flow.verdict import HELD_MS, decide
from batchq.flow.walk import Walk
from batchq.operations.base import Call
from batchq.store.job_record import JobSpec, Lane
from batchq.store.leases import ClaimRequest, Released, ReleaseKind, ReleaseRequest, Verdict

log = logging.getLogger("batchq")

SUSPECT_CRASHES = 2  # an item under which so many workers died runs as the only suspect of its process
SUSPECT_WAIT_MS = 1_000
PASSED_ON = 0.75  # of what this worker cannot serve goes to the next one at once,
ELSEWHERE_MS = 1_000  # the rest waits for so long: those who could may be busy


@dataclass(frozen=True, slots=True)
class SendAgain:
    """The item waits for a Celery retry of its message, with a new ticket; of a pack, those at `positions` do."""

    ticket: int
    delay_ms: int
    positions: tuple[int, ...] = ()


def process_item(message: ItemMessage, walk: Walk) -> SendAgain | None:
    """Run one item. Raises nothing; None when the message has done its work, whatever that was."""
    try:
        task = _claim(message, walk)
        if task is None:
            return None
        if task.lease.crashes >= SUSPECT_CRASHES:
            if not walk.suspect.acquire(blocking=False):
                _give_back(task, walk, SUSPECT_WAIT_MS)
                return None
            try:
                return _run(task, walk)
            finally:
                walk.suspect.release()
        return _run(task, walk)
    except GaveUp:
        return None  # the lease, if there is one, ends with this process
    except Exception as exc:
        # a header task that raises costs its chord the callback; the lease ends by itself and the item comes back
        place = (message.job_id, message.position, trace_of(exc))
        log.error("job %s item %d: unexpected error; it will come back: %s", *place)
        return None


def _claim(message: ItemMessage, walk: Walk) -> Task | None:
    named = walk.lane_of_message(message.job_id, message.lane)
    if named is None:
        return None
    spec, lane = named
    ledger = walk.ledger.lane(spec, lane.number)
    passage = walk.gates.of(spec, lane)
    begun = not spec.budgeted and patiently(passage.is_open, walk.stop.is_set) and not walk.stopping
    request = ClaimRequest(message.position, message.ticket, secrets.token_hex(6), begun)
    claimed = ledger.claim(request)
    if claimed.verdict is Verdict.OTHER:
        walk.specs.drop(spec.id)
        return _claim(message, walk)
    if claimed.verdict is not Verdict.OK or claimed.lease is None:
        return None
    task = Task(spec, lane, claimed.lease, ledger, passage)
    if walk.stopping:
        _give_back(task, walk, 0)
        return None
    if not is_ours(spec, lane, walk) or walk.another_knows(lane.operation):
        pass_on(walk, spec, partial(_give_back, task, walk))
        return None
    if begun:
        return task
    return _pass_gate(task, walk)


def is_ours(spec: JobSpec, lane: Lane, walk: Walk) -> bool:
    """A local run's job goes to its own provider, and no other job to a run's emulator."""
    if spec.is_for(lane, walk.project):
        return True
    walk.specs.drop(spec.id)  # it may have been pinned anew since this process read it
    return walk.spec_patiently(spec.id).is_for(lane, walk.project)


def pass_on(walk: Walk, spec: JobSpec, give_back: Callable[[int], None]) -> None:
    """Leave to another worker what this one cannot serve; `give_back` is told the delay in ms.

    Workers that wait for messages are served in turn. The message of an item and that of its wave's end are two: of
    two idle workers the same one would be sent a lone item again and again, if it only came back by the sweeper.
    Sent again at once it is the next one's.
    """
    if walk.dice.random() >= PASSED_ON:
        give_back(ELSEWHERE_MS)
        return
    give_back(0)
    send_again(walk, spec)


def _pass_gate(task: Task, walk: Walk) -> Task | None:
    if walk.operation(task.lane.operation).needs_provider:
        walk.warm()
    began = time.monotonic()
    try:
        failed = upload(task, walk)
    except CutShort:
        _give_back(task, walk, 0)
        return None
    if failed is not None:
        task = replace(task, failed=failed)
        return task if isinstance(failed, Unsendable) else _begin(task, walk)
    # both waits together: a lease counts with no more. An upload that took longer is there when the item comes back
    patience_s = max(0.0, walk.settings.permit_wait_s - (time.monotonic() - began))
    call = _call(task, walk) if task.spec.budgeted or _counts_tokens(task, walk) else None
    estimate = task.passage.estimate([call]) if call is not None else None
    upper, usual = (estimate.upper, estimate.usual) if estimate is not None else (0, 0)
    permit = task.passage.wait(patience_s, upper, usual)
    if isinstance(permit, TooLarge):
        _refuse(task, walk, permit)
        return None
    if isinstance(permit, TooLong):
        _give_back(task, walk, min(HELD_MS, permit.due_ms) if not walk.stopping else 0)
        return None
    if task.spec.budgeted and call is not None:
        [within] = reserve(walk, [task], [call])
        if within != "ok":
            task.passage.unused(permit)
            if within != "stale":
                _give_back(task, walk, WAIT_MS)
            return None
    begun = _begin(task, walk)
    if begun is None:
        task.passage.unused(permit)
        return None
    return replace(begun, permit=permit, estimate=estimate)


def _begin(task: Task, walk: Walk) -> Task | None:
    """Charge the attempt. None: the item may not be tried now, and is given back."""
    answer = task.ledger.mark_begun(task.lease)
    if answer == "ok":
        return replace(task, lease=replace(task.lease, attempts=task.lease.attempts + 1))
    if answer != "stale":
        _give_back(task, walk, 0)
    return None


def _counts_tokens(task: Task, walk: Walk) -> bool:
    return patiently(task.passage.counts_tokens, walk.stop.is_set)


def _call(task: Task, walk: Walk) -> Call | None:
    """Before the permit, since what the item needs is part of what is drawn."""
    try:
        return call_of(task, walk, item_of(task, walk))
    except (ProviderError, BatchqError):
        return None  # a file that cannot be read: the call itself will say why


def _refuse(task: Task, walk: Walk, too_large: TooLarge) -> None:
    """It would never fit: say so before anything is sent."""
    error = too_large_for(too_large)
    asked = Asked(None, error, int(time.time() * 1000), 0, Usage(), called=False)
    decision = retry.GiveUp(ItemState.FAILED, error.kind, error.message)
    _settle(task, walk, asked, failure(task, walk, asked, decision))


def too_large_for(refused: TooLarge) -> Unsendable:
    return Unsendable(
        f"about {refused.tokens:,} input tokens are more than the {refused.limit:,} a minute that quota "
        f"{refused.quota} allows: split the item, or raise the quota (batchq quotas set)",
        kind="TOO_LARGE",
    )


def _run(task: Task, walk: Walk) -> SendAgain | None:
    if task.failed is not None:
        asked = Asked(None, task.failed, int(time.time() * 1000), 0, Usage(), called=False)
        return _end(task, walk, asked, decide(task, walk, task.failed))
    try:
        asked = ask(task, walk)
        # the fleet hears of a refusal before the permit ends: until then no other call asks in its place
        decision = decide(task, walk, asked.error) if asked.error is not None else None
    except CutShort:
        task.passage.done(task.permit, None, Usage(), answered=False)
        _give_back(task, walk, 0, ReleaseKind.CUT)
        return None
    except BaseException:
        task.passage.done(task.permit, None, Usage(), answered=False)
        raise
    if asked.called:
        task.passage.done(task.permit, task.estimate, asked.usage, answered=asked.answer is not None)
    else:
        task.passage.unused(task.permit)
        task = replace(task, lease=replace(task.lease, attempts=task.lease.attempts - 1))
    return _end(task, walk, asked, decision)


def _end(task: Task, walk: Walk, asked: Asked, decision: retry.Decision | None) -> SendAgain | None:
    """The item's outcome, or its way back."""
    if asked.answer is not None:
        _keep_files(task, walk, asked.answer)
        _settle(task, walk, asked, success(task, walk, asked, asked.answer))
        return None
    assert asked.error is not None
    if isinstance(decision, retry.GiveUp):
        _settle(task, walk, asked, failure(task, walk, asked, decision))
        return None
    if decision is None:  # this process may not read the item's file, another may
        pass_on(walk, task.spec, partial(_give_back, task, walk))
        return None
    leave = leaving(task, walk, asked, decision)
    request = release_request(task, walk, asked, leave, by_message=by_message(walk, leave))
    released = _do_release(task, walk, request, leave.why)
    return SendAgain(released.ticket, leave.delay_ms) if released.answer == "retry" else None


def _keep_files(task: Task, walk: Walk, answer: Answer) -> None:
    """Before the outcome that names them."""
    for pair in answer.files.items():
        patiently(partial(walk.outcomes.keep_file, task.spec.id, *pair), walk.stop.is_set)


def _settle(task: Task, walk: Walk, asked: Asked, outcome: Outcome) -> None:
    request = settle_request(task, walk, asked, outcome)
    settled = task.ledger.settle(request)
    if settled.answer == "ok":
        log_settled(task, walk, outcome, request.bucket)
    follow_up(walk, task.spec, settled)


def _give_back(task: Task, walk: Walk, delay_ms: int, kind: ReleaseKind = ReleaseKind.UNUSED) -> None:
    """Nothing came of it; the item is pending again at once or when it is due."""
    _do_release(task, walk, ReleaseRequest(task.lease.position, task.lease.nonce, kind, delay_ms), "")


def _do_release(task: Task, walk: Walk, request: ReleaseRequest, why: str) -> Released:
    return task.ledger.release([request], fatal_limit=walk.settings.fatal_in_a_row, why=why)[0]
