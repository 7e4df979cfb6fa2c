"""Dead letters as messages: fed to their queue, and redriven by a worker that consumes it.

The queue is a feed beside the store: a message that is late, doubled or stale does nothing, and of too many the
newest stay. No worker consumes it unless `-Q` names it; one that does redrives.
"""

from __future__ import annotations

import json
import logging
import secrets
from bisect import bisect_right
from collections.abc import Callable

from batchq.core.lifecycle import DEAD_LETTERS, ENDED
from batchq.errors import BatchqError, Conflict, NewerData, NotFound
from batchq.flow.patience import patiently
from batchq.flow.walk import Walk
from batchq.store.inputs import ShardRow
from batchq.store.job_record import JobSpec
from batchq.store.outcomes import StoredResult

log = logging.getLogger("batchq")

AT_ONCE = 200  # messages of one batch
BY = "dead-letter queue"


def feed(walk: Walk, job_id: str) -> bool:
    """Send the job's dead letters to their queue. False: some are left, for the broker or the store is away."""
    try:
        if not walk.outbox.waiting(job_id):
            return True
        owner = secrets.token_hex(6)
        if not walk.outbox.open(job_id, owner):
            return False
        try:
            spec = walk.spec(job_id)
            while letters := walk.outbox.oldest(job_id, AT_ONCE):
                indexes = [
                    walk.shard_patiently(spec, letter.shard).at(letter.position).ordinal for letter in letters
                ]
                walk.dispatcher.send_letters(job_id, indexes)
                walk.outbox.sent(job_id, letters)
        finally:
            walk.outbox.close(job_id, owner)
    except NotFound:
        return True  # deleted meanwhile
    except BatchqError as exc:
        log.warning("job %s: its dead letters are not in their queue yet: %s", job_id, exc)
        return False
    return True


def redrive_letter(walk: Walk, job_id: str, index: int) -> bool:
    """Send one dead letter back as a pending item, `index` its place in the input. False: there is none, now.

    Not more often than the setting `automatic_redrives` allows: what is refused for good would go round for ever.
    """
    return patiently(lambda: _redrive(walk, job_id, index), walk.stop.is_set)


def _redrive(walk: Walk, job_id: str, index: int) -> bool:
    try:
        spec = walk.spec(job_id)
        found = _find(walk, spec, index)
        if found is None or not _can_go_again(found) or walk.outcomes.is_purged(job_id, found.position):
            return False
        if walk.outbox.count_redrive(job_id, found.position) > walk.settings.automatic_redrives:
            log.info("job %s: item %d failed again after every automatic redrive; it stays", job_id, index)
            return False
        return _send_back(walk, spec, found)
    except (NotFound, NewerData, Conflict):
        return False  # expired, deleted, or cancelled


def _can_go_again(found: StoredResult) -> bool:
    """A dead letter whose call failed; what was refused before any call would be refused again."""
    outcome = found.outcome
    return found.state in DEAD_LETTERS and outcome is not None and bool(outcome.attempts or outcome.history)


def _send_back(walk: Walk, spec: JobSpec, found: StoredResult) -> bool:
    ended = walk.jobs.state(spec.id) in ENDED
    change = json.dumps({"change": "redrive", "by": BY, "why": "its job had ended"})[1:-1] if ended else ""
    done = walk.items.redrive(
        spec.id,
        found.lane,
        [found.redrive()],
        first=ended,
        change=change,
        lanes=len(spec.lanes),
    )
    if done:
        walk.specs.drop(spec.id)
    return done > 0  # on the sweeper's agenda now: it sends out what has come together


def _find(walk: Walk, spec: JobSpec, index: int) -> StoredResult | None:
    """The item at a place of the input. In each lane the places rise from shard to shard."""
    table = walk.tables.get((spec.id, spec.birth), lambda: tuple(walk.inputs.table(spec.id)))
    for lane in spec.lanes:
        rows = [row for row in table if row[3] == lane.number]
        at = bisect_right(rows, index, key=_first_of(walk, spec)) - 1
        if at < 0:
            continue
        number, base, n, _ = rows[at]
        for result in walk.outcomes.shard_results(spec.id, number, base, n):
            if result.ordinal == index:
                return result
    return None


def _first_of(walk: Walk, spec: JobSpec) -> Callable[[ShardRow], int]:
    """The place in the input of a shard's first item."""
    if len(spec.lanes) == 1:
        return lambda row: row[1]
    return lambda row: walk.shard_patiently(spec, row[0]).items[0].ordinal
