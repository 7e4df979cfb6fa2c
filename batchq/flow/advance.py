"""The one driver of a job: take what there is room for, publish it as waves, finish when nothing is left.

The dispatch message, the chord's body, settles that leave room, and the sweeper all call `advance`. Any of these
calls may be lost or doubled; what it does is decided by the store's scripts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from batchq.core import window
from batchq.core.lifecycle import ENDED, JobState
from batchq.errors import NewerData, NotFound
from batchq.flow.finish import finish, leave_queues
from batchq.flow.gates import Passage
from batchq.flow.walk import PACKS, UNBOUNDED, Walk
from batchq.store.job_record import JobSpec, Lane

log = logging.getLogger("batchq")

UNTIL_LIFTED = 1 << 40  # ms
MOST_TAKEN = 1_000  # items of one take, see take.lua


@dataclass(frozen=True, slots=True)
class Hold:
    """How long nothing of a lane may go, why, and by which of its quotas. 0 ms: it may; UNTIL_LIFTED: until somebody
    resumes it."""

    ms: int
    why: str = ""
    quota: str = ""


def advance(walk: Walk, job_id: str) -> None:
    """Send out what there is room for; finish the job when all is settled. Safe to call at any time."""
    try:
        spec = walk.spec(job_id)
        state = walk.jobs.state(job_id)
    except (NotFound, NewerData) as exc:
        log.info("nothing to advance: %s", exc)
        return
    if state is JobState.CANCELLED:
        while walk.jobs.cancel_sweep(job_id, len(spec.lanes)):
            pass
    elif state is JobState.PAUSED:
        leave_queues(walk, spec)  # its share of the window is for the others
    elif state in (JobState.PENDING, JobState.PROCESSING) and not waits_ms(walk, spec):
        for lane in spec.lanes:
            _fill(walk, spec, lane)
    if state not in ENDED or state is JobState.CANCELLED:
        finish(walk, spec)


def waits_ms(walk: Walk, spec: JobSpec) -> int:
    """How long until the job may begin, by the store's clock, which guards it too (take.lua)."""
    return max(0, spec.not_before_ms - walk.jobs.server_ms()) if spec.not_before_ms else 0


def _fill(walk: Walk, spec: JobSpec, lane: Lane) -> None:
    queue = walk.queue(lane.operation)
    passage = walk.gates.of(spec, lane, walk.project_of(spec, lane))
    if hold_of(passage).ms:
        walk.fleet.leave_queue(passage.shared or queue, spec.id, lane.number)
        return
    pack = pack_of(walk, lane, passage)
    room = lane_window(walk, spec, lane, queue, passage, pack)
    if room <= 0:
        return
    wave = min(MOST_TAKEN, walk.settings.wave_items * pack)
    while True:
        take = walk.items.take(spec.id, lane.number, wave, room)
        if not take.positions:
            return
        walk.dispatcher.send_wave(
            spec.id, lane.number, f"{walk.settings.namespace}.{queue}", take.positions, take.ticket, pack
        )
        if len(take.positions) < wave:
            return


def pack_of(walk: Walk, lane: Lane, passage: Passage) -> int:
    """Items of a lane that a call takes."""
    packed = walk.packed(lane.operation)
    return passage.most_together(packed.pack) if packed else 1


def windows(walk: Walk, spec: JobSpec, lane: Lane, passage: Passage, pack: int) -> tuple[int, int]:
    """Items that may be in flight: of all that share the lane's quota, and of the lane where it has that alone."""
    calls = PACKS if pack > 1 else UNBOUNDED
    slots = pack * walk.slots_of(spec, lane, calls)
    latency_s = passage.experience.latency_s

    def items(rpm: int | None) -> int:
        within = window.fleet_window(slots, rpm / 60 if rpm else None, latency_s)
        return window.in_packs(within, pack, window.SLOTS_AHEAD * slots) if pack > 1 else within

    whole, own = items(passage.shared_rpm()), items(passage.rpm())
    if spec.concurrency is not None:
        own = min(own, window.SLOTS_AHEAD * spec.concurrency * pack)
    return whole, own


def lane_window(walk: Walk, spec: JobSpec, lane: Lane, queue: str, passage: Passage, pack: int = 1) -> int:
    """Items of a lane that may be in flight now: its share of its quota's window. A slot runs `pack` of them."""
    whole, own = windows(walk, spec, lane, passage, pack)
    if whole <= 0:
        return 0  # nobody may run it: it takes no share from others
    shared = passage.shared or queue
    member = f"{spec.id}:{lane.number}"
    weights = walk.weights_of(shared)
    others = sum(weight for one, weight in weights.items() if one != member)
    weight = window.weight_within(window.weight_of(spec.priority), own / whole if whole else 1.0, others)
    if window.differs(weight, weights.get(member)):
        walk.fleet.join_queue(shared, spec.id, lane.number, weight)
        if walk.jobs.state(spec.id) in ENDED:  # by somebody else, who left for it: nobody would again
            walk.fleet.leave_queue(shared, spec.id, lane.number)
            return 0
    part = window.share(whole, member, {**weights, member: weight})
    return min(own, part) if own < whole else part  # its part of a small window may be more than the window


def hold_of(passage: Passage) -> Hold:
    """What holds a lane longest of all that its calls must pass."""
    longest = Hold(0)
    for view in passage.views():
        if view.paused:
            return Hold(UNTIL_LIFTED, "paused", view.name)
        if view.held_ms > longest.ms:
            longest = Hold(view.held_ms, view.why, view.name)
    return longest
