"""How far a job's results are on their way to its destination, noted on its record."""

from __future__ import annotations

from dataclasses import dataclass

from batchq.store.database import Arg, Database


@dataclass(frozen=True, slots=True)
class Publication:
    """`due_ms`: of the next try, by the store's clock; 0: at once."""

    tries: int  # that failed
    due_ms: int


class PublicationStore:
    """Named operations on a job's fields out_…: state (writing, written, failed), written, tries, due, error."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, job_id: str) -> Publication:
        tries, due = self._db.command("HMGET", self._db.job_keys(job_id).job, "out_tries", "out_due")
        return Publication(int(tries or 0), int(due or 0))

    def writing(self, job_id: str, written: int) -> None:
        self._note(job_id, "out_state", "writing", "out_written", written)

    def written(self, job_id: str, count: int) -> None:
        self._note(job_id, "out_state", "written", "out_written", count, "out_error", "")

    def failed(self, job_id: str, tries: int, error: str, due_ms: int | None) -> None:
        """It is tried again at `due_ms`, by anybody; None: never."""
        state = "waiting" if due_ms is not None else "failed"
        fields: list[Arg] = [
            "out_state",
            state,
            "out_tries",
            tries,
            "out_error",
            error,
            "out_due",
            due_ms or 0,
        ]
        self._note(job_id, *fields, *(["fin", ""] if due_ms is not None else []))

    def _note(self, job_id: str, *fields: Arg) -> None:
        self._db.run("annotate", [self._db.job_keys(job_id).job], fields)
