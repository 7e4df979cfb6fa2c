"""The files of the Files API: what was uploaded, for how long it lies there, and what a request reads of it.

Bytes are held only while they come; of a whole file its digest stays, and how many tokens it has.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from batchq.emulator.reader import Content, Reader
from batchq.emulator.refusals import Refusal, invalid

Json = dict[str, Any]
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(slots=True)
class StoredFile:
    """A file, its bytes gone. Times are Unix seconds."""

    name: str
    project: str
    kind: str
    size: int
    digest: bytes
    tokens: dict[str, int]
    display_name: str
    problem: Refusal | None  # it cannot be processed
    created_s: float
    active_s: float
    expires_s: float


@dataclass(slots=True)
class Upload:
    """A file that is on its way."""

    name: str
    project: str
    kind: str
    size: int
    display_name: str
    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Room:
    """What the Files API allows."""

    processing_s: float
    ttl_s: float
    most_bytes: int  # of a file
    most_stored: int  # of a project


class Shelf:
    """Used by one thread: the loop's. Reading it from another is safe."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._files: dict[str, StoredFile] = {}
        self._coming: dict[str, Upload] = {}
        self.uploaded = 0
        self.deleted = 0

    def begin(self, project: str, wanted: Json, size: int, kind: str, room: Room) -> str:
        """The id of an upload. Raises Refusal."""
        name = str(wanted.get("name") or f"files/{secrets.token_hex(6)}").removeprefix("files/")
        if not _NAME.fullmatch(name):
            raise invalid(
                f"* CreateFileRequest.file.name: invalid file name: {name}. At most 40 lower-case letters, digits and dashes"
            )
        self._expire()
        if name in self._files:
            raise Refusal(409, f"File {name} already exists.")
        if size > room.most_bytes:
            raise invalid(
                f"* CreateFileRequest.file.size_bytes: a file has at most {room.most_bytes} bytes\n"
            )
        held = sum(one.size for one in self._files.values() if one.project == project)
        if held + size > room.most_stored:
            raise Refusal(429, "The project's storage for files is exhausted.")
        upload_id = secrets.token_hex(16)
        self._coming[upload_id] = Upload(name, project, kind, size, str(wanted.get("displayName") or ""))
        return upload_id

    def add(self, upload_id: str, offset: int, piece: bytes) -> None:
        upload = self._upload(upload_id)
        if offset != len(upload.data):
            raise invalid(f"Invalid upload offset: {offset}, expected {len(upload.data)}")
        upload.data += piece
        if len(upload.data) > upload.size:
            raise invalid("More bytes were uploaded than announced.")

    def received(self, upload_id: str) -> int:
        return len(self._upload(upload_id).data)

    def finish(self, upload_id: str, room: Room) -> StoredFile:
        upload = self._upload(upload_id)
        if len(upload.data) != upload.size:
            raise invalid(f"{len(upload.data)} of {upload.size} bytes were uploaded")
        del self._coming[upload_id]
        content, reader = Content(), Reader()
        reader.bytes_of(bytes(upload.data), upload.kind, content)
        now = self._now_s()
        file = self._files[upload.name] = StoredFile(
            upload.name,
            upload.project,
            upload.kind,
            upload.size,
            hashlib.sha256(upload.data).digest(),
            content.tokens,
            upload.display_name,
            reader.problem,
            now,
            now + room.processing_s,
            now + room.ttl_s,
        )
        self.uploaded += 1
        return file

    def get(self, name: str, project: str) -> StoredFile:
        """Raises Refusal: another project's file and one that is not there look alike."""
        self._expire()
        file = self._files.get(name)
        if file is None or file.project != project:
            raise Refusal(403, f"You do not have permission to access the File {name} or it may not exist.")
        return file

    def delete(self, name: str, project: str) -> None:
        self.get(name, project)
        del self._files[name]
        self.deleted += 1

    def of(self, project: str) -> list[StoredFile]:
        self._expire()
        return [one for one in self._files.values() if one.project == project]

    def used(self, name: str, project: str) -> StoredFile:
        """For a request that names it. Raises Refusal."""
        file = self.get(name, project)
        if file.problem is not None:
            raise file.problem
        if file.active_s > self._now_s():
            raise invalid(f"The File {name} is not in an ACTIVE state and usage is not allowed.")
        return file

    def stats(self) -> Json:
        return {
            "held": len(self._files),
            "bytes": sum(one.size for one in self._files.values()),
            "uploaded": self.uploaded,
            "deleted": self.deleted,
        }

    def shown(self, file: StoredFile, base_url: str) -> Json:
        """As the API shows it."""
        state = "FAILED" if file.problem else "PROCESSING" if file.active_s > self._now_s() else "ACTIVE"
        shown: Json = {
            "name": f"files/{file.name}",
            "mimeType": file.kind,
            "sizeBytes": str(file.size),
            "createTime": _time(file.created_s),
            "updateTime": _time(file.created_s),
            "expirationTime": _time(file.expires_s),
            "sha256Hash": base64.b64encode(file.digest.hex().encode()).decode(),
            "uri": f"{base_url}/files/{file.name}",
            "state": state,
            "source": "UPLOADED",
        }
        if file.display_name:
            shown["displayName"] = file.display_name
        if file.problem:
            shown["error"] = {"code": 3, "message": file.problem.message}
        return shown

    def _upload(self, upload_id: str) -> Upload:
        upload = self._coming.get(upload_id)
        if upload is None:
            raise Refusal(404, "Upload has already been terminated.")
        return upload

    def _expire(self) -> None:
        now = self._now_s()
        for name in [name for name, file in self._files.items() if file.expires_s <= now]:
            del self._files[name]


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
