"""Events on their way from a job's outbox to its webhook: signed, tried again with growing waits, given up at last.

The sweeper looks after them. A sending has a thread of its own: a receiver that does not answer must not hold up
the healing of jobs.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from batchq.errors import BatchqError, NewerData, NotFound
from batchq.flow.status import completed
from batchq.flow.walk import Walk
from batchq.store.events import Event
from batchq.store.job_record import JobSpec

if TYPE_CHECKING:
    from batchq.webhooks import Undelivered

log = logging.getLogger("batchq")

LONGEST_S = 10.0  # of one try, and never longer than the wait for the next
GROWTH, LONGEST_WAIT_S = 3, 3_600
JITTER = 0.25  # of a wait, so that a receiver that comes back is not met by all jobs at once
BY = "webhook"


def deliver(walk: Walk, spec: JobSpec) -> int | None:
    """Begin to send what is due. Returns when to look again, in ms; None: the webhook has heard of everything."""
    if spec.webhook is None:
        return None
    waiting = walk.events.waiting(spec.id)
    now = walk.jobs.server_ms()
    for event in waiting:
        if event.due_ms > now or not walk.sendings.acquire(blocking=False):
            continue
        begun = False
        try:
            begun = walk.events.claim(spec.id, event, now + _wait_ms(walk, event))
        finally:
            if not begun:
                walk.sendings.release()
        if begun:
            _in_thread(lambda event=event: _try(walk, spec, spec.webhook or "", event))  # type: ignore[misc]
    return max(0, min(event.due_ms for event in waiting) - now) if waiting else None


def _wait_ms(walk: Walk, event: Event) -> int:
    wait_s = min(walk.settings.webhook_wait_s * GROWTH**event.tries, LONGEST_WAIT_S)
    return int(wait_s * 1000 * (1 + JITTER * walk.dice.random()))


def _in_thread(what: Callable[[], None]) -> None:
    threading.Thread(target=what, name="batchq webhook", daemon=True).start()


def _try(walk: Walk, spec: JobSpec, url: str, event: Event) -> None:
    from batchq.webhooks import Refused, Undelivered  # loads HTTP, which most processes never need for this

    last = event.tries + 1 >= walk.settings.webhook_tries
    try:
        _post(walk, spec, url, event)
        walk.events.take_off(spec.id, event)
        log.info("job %s: its webhook has heard that it is %s", spec.id, event.type)
    except (NotFound, NewerData):
        pass  # deleted or expired meanwhile
    except Undelivered as exc:
        if last or isinstance(exc, Refused):
            _give_up(walk, spec, event, exc)
        else:
            log.warning("job %s: its webhook does not know yet that it is %s: %s", spec.id, event.type, exc)
    except BatchqError as exc:  # the store is away: the event is due again later
        log.warning("job %s: its webhook: %s", spec.id, exc)
    finally:
        walk.sendings.release()


def _give_up(walk: Walk, spec: JobSpec, event: Event, why: Undelivered) -> None:
    log.warning("job %s: its webhook never hears that it is %s: %s", spec.id, event.type, why)
    try:
        walk.events.take_off(spec.id, event)
        walk.jobs.note(spec.id, f"webhook not told: {event.type}", BY, str(why))
    except BatchqError as exc:
        log.warning("job %s: its webhook: %s", spec.id, exc)


def _post(walk: Walk, spec: JobSpec, url: str, event: Event) -> None:
    from batchq.webhooks import Undelivered, send

    settings = walk.settings
    if settings.webhook_secret is None:
        raise Undelivered("the workers have no BATCHQ_WEBHOOK_SECRET to sign it with")
    record = completed(walk, walk.jobs.record(spec.id))
    happened = datetime.fromtimestamp(event.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    told = {"type": f"job.{event.type}", "timestamp": happened, "data": record.to_json()}
    send(
        url,
        f"{spec.id}:{event.number}",
        json.dumps(told, ensure_ascii=False, separators=(",", ":")),
        settings.webhook_secret.get_secret_value(),
        timeout_s=min(LONGEST_S, settings.webhook_wait_s),
        loopback=settings.webhook_loopback,
    )
