"""Where the files stand that a list names."""

# Plain strings: a folder may hold a million names, and ids are made of them.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchq.core.records import ErrorInfo
from batchq.formats.words import shown


@dataclass(frozen=True, slots=True)
class Folder:
    """The list's own folder. Its rows may name files under it, or under one of `roots`, and no others:

    a list often comes from somebody else, and `../../.ssh/id_rsa` would send a secret to the provider.
    """

    path: str  # real and absolute
    roots: tuple[str, ...] = ()  # real and absolute

    @classmethod
    def of(cls, path: str, roots: tuple[str, ...] = ()) -> Folder:
        return cls(os.path.realpath(path), tuple(os.path.realpath(root) for root in roots))

    @classmethod
    def working(cls) -> Folder:
        """The working folder, of a caller who is trusted to name any file of this machine."""
        return cls(str(Path.cwd()), (os.sep,))

    def find(self, name: str) -> tuple[dict[str, str], ErrorInfo | None]:
        """The file's place, symbolic links resolved, as it stands in an item's input. Not opened yet."""
        if "://" in name:
            return {"name": name}, _unreadable(f"{shown(name)} is a URL: name a file of this machine")
        if not name.strip() or "\0" in name:
            return {"name": name}, _unreadable("file is empty: name a file")
        path = os.path.realpath(os.path.join(self.path, name))
        place = {"path": path, "name": name}
        if not any(is_under(path, root) for root in (self.path, *self.roots)):
            message = f"{shown(name)} lies outside of the list's folder: move it there, or add its folder to BATCHQ_FILE_ROOTS"
            return place, ErrorInfo(0, "FILE_OUTSIDE_ROOTS", message)
        return place, None

    def file_of(self, value: Any) -> tuple[Any, ErrorInfo | None]:
        """The same for what stands in JSON: a path, or an object with `path` and perhaps `name`."""
        if isinstance(value, str):
            return self.find(value)
        if isinstance(value, Mapping) and isinstance(value.get("path"), str):
            place, problem = self.find(value["path"])
            if isinstance(value.get("name"), str) and value["name"]:
                place["name"] = value["name"]
            return place, problem
        return value, ErrorInfo(0, "WRONG_TYPE", "file must be a path")


def is_under(path: str, root: str) -> bool:
    """Whether a real path is `root` or lies in it. Both without symbolic links."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _unreadable(message: str) -> ErrorInfo:
    return ErrorInfo(0, "FILE_UNREADABLE", message)
