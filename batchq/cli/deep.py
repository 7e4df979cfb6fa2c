"""What `doctor --deep` looks at: everything under the namespace, key by key. `repair` sets right what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from batchq.checks import Finding, ok, warn
from batchq.core.wording import count
from batchq.errors import BatchqError, NewerData, NotFound

if TYPE_CHECKING:
    from batchq.settings import Settings
    from batchq.store.jobs import JobStore
    from batchq.store.upkeep import Upkeep

SHOWN = 5  # jobs named in one line
REPAIR = "batchq doctor --deep --repair"


def deep(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """Keys, entries and counters that are not as they should be."""
    from batchq import wiring
    from batchq.store.jobs import JobStore
    from batchq.store.upkeep import Upkeep

    database = wiring.database(settings)
    upkeep, jobs = Upkeep(database), JobStore(database)
    found = False
    try:
        for finding in (
            *_orphans(upkeep, repair),
            *_entries(upkeep, repair),
            *_shares(upkeep, repair),
            *_agenda(upkeep, jobs, repair),
            *_counts(upkeep, jobs, repair),
        ):
            found = True
            yield finding
    except BatchqError as exc:
        yield warn("deep", str(exc), "a user that may SCAN is needed (docs/security.md)")
        return
    finally:
        database.close()
    if not found:
        yield ok("deep", "every key belongs to a job, and every count is right")


def _told(text: str, repair: bool) -> Finding:
    return ok("deep", f"repaired: {text}") if repair else warn("deep", text, REPAIR)


def _named(jobs: Iterable[str]) -> str:
    names = list(jobs)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _orphans(upkeep: Upkeep, repair: bool) -> Iterator[Finding]:
    orphans = upkeep.orphans()
    if orphans:
        if repair:
            upkeep.remove(orphans)
        keys = count(sum(map(len, orphans.values())), "key")
        yield _told(f"{keys} of jobs that are gone: {_named(orphans)}", repair)


def _entries(upkeep: Upkeep, repair: bool) -> Iterator[Finding]:
    gone = upkeep.listed_and_gone()
    if gone:
        if repair:
            upkeep.drop_entries(gone)
        yield _told(f"{count(len(gone), 'job')} on the list and gone: {_named(gone)}", repair)


def _shares(upkeep: Upkeep, repair: bool) -> Iterator[Finding]:
    shares = upkeep.shares()
    if shares:
        if repair:
            upkeep.give_up(shares)
        members = sorted({one for held in shares.values() for one in held})
        yield _told(f"parts of windows and quotas that ended jobs still hold: {_named(members)}", repair)


def _agenda(upkeep: Upkeep, jobs: JobStore, repair: bool) -> Iterator[Finding]:
    unwatched = upkeep.unwatched()
    if unwatched:
        for job_id in unwatched if repair else ():
            jobs.wake(job_id)
        yield _told(
            f"{count(len(unwatched), 'open job')} that no sweeper looks at: {_named(unwatched)}", repair
        )


def _counts(upkeep: Upkeep, jobs: JobStore, repair: bool) -> Iterator[Finding]:
    for record in jobs.each():
        try:
            lanes = len(jobs.spec(record.id).lanes)
            wrong = upkeep.recount(record.id, lanes, mend=repair)
        except (NotFound, NewerData):
            continue  # gone meanwhile
        if wrong:
            if repair:
                jobs.wake(record.id)  # it may have nothing open, and not know it
            yield _told(f"job {record.id}: {'; '.join(map(str, wrong))}", repair)
