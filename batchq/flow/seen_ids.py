"""The ids of one submission, for finding doubles, in memory that does not grow with their number."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from batchq.errors import BatchqError

if TYPE_CHECKING:
    import sqlite3

HELD = 2_000  # ids kept in memory; more go to a temporary file
CACHE_KB = 2_000  # of that file


class SeenIds:
    """Which ids were seen, and where first. Exact at any number of ids.

    The file is SQLite's own temporary one, which has no name and goes with the process.
    """

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._file: sqlite3.Connection | None = None

    def add(self, id: str, row: int) -> int | None:
        """Remember an id; return the row where it was seen first, or None if it is new.

        Raises BatchqError when there is no room for the temporary file.
        """
        first = self._held.get(id)
        if first is not None:
            return first
        if self._file is None and len(self._held) < HELD:
            self._held[id] = row
            return None
        return self._filed(id, row)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _filed(self, id: str, row: int) -> int | None:
        import sqlite3

        key = id.encode("utf-8", "surrogatepass")
        try:
            if self._file is None:
                self._file = _opened()
            insert = "INSERT INTO seen VALUES (?, ?) ON CONFLICT DO NOTHING"
            if self._file.execute(insert, (key, row)).rowcount:
                return None
            found: tuple[int] = self._file.execute("SELECT row FROM seen WHERE id = ?", (key,)).fetchone()
        except sqlite3.Error as exc:
            raise BatchqError(
                f"no temporary file for the ids of this submission ({exc} at item {row:,}): free some space in "
                f"{tempfile.gettempdir()}, or name another folder in TMPDIR"
            ) from exc
        return found[0]


def _opened() -> sqlite3.Connection:
    import sqlite3

    # An iterable of items may be drawn by one thread after the other.
    file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    file.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    file.execute("PRAGMA journal_mode = OFF")
    file.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, row INTEGER) WITHOUT ROWID")
    file.execute("BEGIN")
    return file
