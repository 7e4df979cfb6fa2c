"""Files that lie at the provider, by project and content: who uploads, who needs them, who deletes them.

The name of a file is written down before its upload begins, so that also what a dead worker uploaded is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchq.core.lifecycle import ENDED, JobState
from batchq.store.database import Arg, Database

SPARE_MS = 30 * 60_000  # a file that the provider deletes sooner than that is uploaded anew
DELETE_MS = 60_000  # who deletes a file has so long


@dataclass(frozen=True, slots=True)
class Place:
    """Where a content lies (`uri`), the name under which the caller is to upload it, or for whom it has to wait."""

    uri: str | None = None
    name: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A content of which a file lies at the provider, or may."""

    digest: str
    uploading: bool
    owner: str  # incarnation that uploaded it, or does
    jobs: tuple[str, ...]  # that need it

    @classmethod
    def of(cls, digest: bytes, entry: bytes) -> Entry:
        _, state, owner, *_, jobs = entry.decode().split("|")
        return cls(digest.decode(), state == "u", owner, tuple(jobs.split()))


class UploadStore:
    """Named operations on the uploads of projects."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def claim(self, project: str, digest: str, job_id: str, owner: str, name: str, claim_ms: int) -> Place:
        args = [self._db.now_arg, digest, job_id, owner, name, claim_ms, SPARE_MS]
        answer, *rest = self._db.run("upload_claim", [self._db.keys.uploads(project)], args)
        told = rest[0].decode()
        match answer:
            case b"ready":
                return Place(uri=told)
            case b"yours":
                return Place(name=told)
        return Place(owner=told)

    def uploaded(self, project: str, digest: str, owner: str, uri: str, expires_ms: int) -> bool:
        """False: somebody else has taken it over."""
        return self._note(project, digest, uri, owner, expires_ms)

    def not_uploaded(self, project: str, digest: str, owner: str) -> None:
        """Another may try at once."""
        self._note(project, digest, "", owner, 0)

    def lost(self, project: str, digest: str, uri: str) -> None:
        """The provider has it no more: whoever needs it next uploads it."""
        self._note(project, digest, uri, "", 0)

    def _note(self, project: str, digest: str, uri: str, owner: str, expires_ms: int) -> bool:
        args: list[Arg] = [digest, uri, owner, expires_ms]
        return bool(self._db.run("upload_note", [self._db.keys.uploads(project)], args)[0] == b"ok")

    def leave(self, project: str, digest: str, jobs: Iterable[str]) -> str | None:
        """These jobs need it no more. The file's name, where it is for the caller to delete it."""
        args = [self._db.now_arg, digest, DELETE_MS, *jobs]
        answer, *rest = self._db.run("upload_leave", [self._db.keys.uploads(project)], args)
        return rest[0].decode() if answer == b"delete" else None

    def gone(self, project: str, digest: str, name: str) -> None:
        self._db.run("upload_gone", [self._db.keys.uploads(project)], [digest, name])

    def entries(self, project: str) -> list[Entry]:
        found = self._db.command("HGETALL", self._db.keys.uploads(project))
        return [Entry.of(*pair) for pair in found.items()]

    def over(self, jobs: Iterable[str]) -> set[str]:
        """Those that have ended or are gone."""
        asked = sorted(jobs)
        if not asked:
            return set()
        states = self._db.batch([("HGET", self._db.job_keys(job).job, "state") for job in asked])
        pairs = zip(asked, states, strict=True)
        return {job for job, state in pairs if state is None or JobState(state.decode()) in ENDED}

    def turn(self, project: str, owner: str, ttl_ms: int) -> bool:
        """Whether it is this process's turn to look after a project's files: one's in so long a time."""
        key = self._db.keys.uploads_turn(project)
        return self._db.command("SET", key, owner, "NX", "PX", ttl_ms) is not None
