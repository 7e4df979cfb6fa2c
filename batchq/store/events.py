"""What a job's webhook is still to hear of: written by the scripts that end or pause a job, taken off once sent.

To take an event is to say when it is sent again. So whoever dies over one costs a wait, and nobody sends one twice
at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchq.store.database import Database


@dataclass(frozen=True, slots=True)
class Event:
    """A pause or the end of a job. `number` is unlike that of any other event of the job."""

    number: str  # the job's generation; of a pause "GENERATION-pN"
    type: str  # paused, or the end state
    time_ms: int  # when it happened
    tries: int  # sendings begun
    due_ms: int  # of the next sending

    def wire(self, tries: int, due_ms: int) -> str:
        return f"{tries}|{due_ms}|{self.time_ms}|{self.type}"

    @classmethod
    def of(cls, number: bytes, entry: bytes) -> Event:
        tries, due_ms, time_ms, kind = entry.decode().split("|")
        return cls(number.decode(), kind, int(time_ms), int(tries), int(due_ms))


class EventStore:
    """Named operations on the events of jobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def waiting(self, job_id: str) -> list[Event]:
        """What is not sent yet, in the order in which it happened."""
        found = self._db.command("HGETALL", self._db.job_keys(job_id).events)
        return sorted((Event.of(*pair) for pair in found.items()), key=lambda event: event.time_ms)

    def claim(self, job_id: str, event: Event, due_ms: int) -> bool:
        """Send it now; it is due again at `due_ms` unless it is taken off. False: somebody else has it."""
        seen, after = event.wire(event.tries, event.due_ms), event.wire(event.tries + 1, due_ms)
        keys = [self._db.job_keys(job_id).events]
        return bool(self._db.run("claim_event", keys, [event.number, seen, after])[0] == b"ok")

    def take_off(self, job_id: str, event: Event) -> None:
        self._db.command("HDEL", self._db.job_keys(job_id).events, event.number)
