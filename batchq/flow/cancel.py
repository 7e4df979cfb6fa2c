"""Cancel a job: nothing more goes out; what is in flight may still settle. Delete one that has ended."""

from __future__ import annotations

from batchq.core.lifecycle import JobState
from batchq.errors import InputError
from batchq.flow.advance import advance
from batchq.flow.finish import leave
from batchq.flow.submission import JOB_ID
from batchq.flow.walk import Walk


def cancel(walk: Walk, job_id: str, *, by: str) -> bool:
    """Settle what is pending now, whether or not a worker lives. False: it was cancelled already.

    Raises InputError (that is no id), NotFound, Conflict (it has ended), StoreUnavailable.
    """
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):  # it may come by message
        raise InputError("cancel takes the id of a job")
    changed = walk.jobs.cancel(job_id, by=by, why="nothing more goes out")
    advance(walk, job_id)
    return changed


def delete(walk: Walk, job_id: str) -> None:
    """Remove every trace of a job. Raises NotFound, NewerData, Conflict (it has not ended), StoreUnavailable."""
    if walk.jobs.state(job_id) is JobState.CANCELLED:
        advance(walk, job_id)  # with nothing in flight it ends now, whether or not a worker lives
    spec = walk.spec(job_id)
    walk.jobs.delete(job_id)
    leave(walk, spec)  # its finisher may have died before it did so
