"""Files too large for a request: uploaded once for a project, shared by items and jobs, deleted with the last job.

A file's name is stored before its upload begins. So what a worker leaves behind that dies, at whatever point, is
found again: by the next who needs the content, or by `tidy`, which every worker runs on a timer.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import time
from dataclasses import dataclass, field

from batchq.errors import BatchqError, Unavailable
from batchq.flow.patience import patiently
from batchq.flow.walk import Walk
from batchq.store.uploads import Place

log = logging.getLogger("batchq")

POLL_S = (0.1, 1.0)  # while another uploads the same
CLAIM_SPARE_S = 15.0  # beyond its deadline, until another may take an upload over
DELETE_S = 20.0
ROUNDS = 2  # of the sweeper, for one of looking after a project's files


@dataclass(slots=True)
class JobUploads:
    """What the calls of a job upload; see operations.base.Uploads."""

    walk: Walk
    job_id: str
    timeout_s: float
    _digests: dict[str, str] = field(default_factory=dict)  # of what this call named, by address

    def put(self, data: bytes, kind: str) -> str:
        digest = hashlib.sha256(data).hexdigest()
        ends, pause = time.monotonic() + self.timeout_s, POLL_S[0]
        while True:
            place = self._claim(digest)
            uri = place.uri
            if place.name is not None:
                uri = self._upload(digest, place.name, data, kind, ends - time.monotonic())
            if uri is not None:
                self._digests[uri] = digest
                return uri
            if place.owner is not None and not self.walk.is_alive(place.owner):
                self.walk.uploads.not_uploaded(self.walk.project, digest, place.owner)
            if time.monotonic() + pause > ends:
                raise Unavailable(
                    "another worker's upload of the same file did not end in time", kind="TIMEOUT"
                )
            time.sleep(pause)
            pause = min(POLL_S[1], pause * 1.5)

    def lost(self, uri: str) -> None:
        digest = self._digests.get(uri)
        if digest is not None:
            patiently(lambda: self.walk.uploads.lost(self.walk.project, digest, uri), self.walk.stop.is_set)

    def _claim(self, digest: str) -> Place:
        walk = self.walk
        claim_ms = int(1000 * (self.timeout_s + CLAIM_SPARE_S))
        return patiently(
            lambda: walk.uploads.claim(
                walk.project,
                digest,
                self.job_id,
                walk.incarnation,
                f"batchq-{secrets.token_hex(12)}",
                claim_ms,
            ),
            walk.stop.is_set,
        )

    def _upload(self, digest: str, name: str, data: bytes, kind: str, left_s: float) -> str | None:
        """None: it took so long that another has taken it over."""
        walk = self.walk
        try:
            file = walk.provider().upload(name, data, kind, timeout_s=left_s)
        except BaseException:  # a cut call too: the others need not wait until the claim ends
            with contextlib.suppress(BatchqError):
                walk.uploads.not_uploaded(walk.project, digest, walk.incarnation)
            raise
        ours = patiently(
            lambda: walk.uploads.uploaded(walk.project, digest, walk.incarnation, file.uri, file.expires_ms),
            walk.stop.is_set,
        )
        return file.uri if ours else None


def tidy(walk: Walk, project: str) -> int:
    """Delete what no open job needs any more; how many files. One process of a project at a time does it."""
    if not project or not walk.uploads.turn(
        project, walk.incarnation, int(ROUNDS * walk.settings.sweep_s * 1000)
    ):
        return 0
    return delete_needless(walk, project)


def delete_needless(walk: Walk, project: str) -> int:
    deleted = 0
    entries = walk.uploads.entries(project)
    over = walk.uploads.over({job for entry in entries for job in entry.jobs})
    for entry in entries:
        if not over.issuperset(entry.jobs):
            continue
        if entry.uploading and not walk.is_alive(entry.owner):
            walk.uploads.not_uploaded(project, entry.digest, entry.owner)
        name = walk.uploads.leave(project, entry.digest, entry.jobs)
        if name is None:
            continue
        try:
            walk.provider().delete_file(name, timeout_s=DELETE_S)
        except BatchqError as exc:
            log.warning("an uploaded file could not be deleted (it will be tried again): %s", exc)
            continue
        walk.uploads.gone(project, entry.digest, name)
        deleted += 1
    return deleted
