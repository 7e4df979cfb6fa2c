"""Cancel a job: nothing more goes out; what is in flight may still settle."""

from __future__ import annotations

from batchq.errors import InputError
from batchq.flow.advance import advance
from batchq.flow.submission import JOB_ID
from batchq.flow.walk import Walk


def cancel(walk: Walk, job_id: str, *, by: str) -> bool:
    """Settle what is pending now, whether or not a worker lives. False: it was cancelled already.

    Raises InputError (that is no id), NotFound, Conflict (it has ended), StoreUnavailable.
    """
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):  # it may come by message
        raise InputError("cancel takes the id of a job")
    changed = walk.jobs.cancel(job_id, by=by)
    advance(walk, job_id)
    return changed
