"""The ids of one submission, for finding doubles, in memory that does not depend on their length."""

from __future__ import annotations

from array import array

_FULL = 2 / 3  # of the slots: beyond, probes grow long
_LEAST = 1024  # slots; a power of two, as all sizes


class IdSet:
    """Which ids were seen, and where first. Open addressing over 64-bit hashes and 32-bit rows.

    An id takes 18 to 36 bytes, half as much again for the moment in which the table doubles. The ids themselves are not kept,
    so two different ones with equal hashes pass for doubles: among n ids the chance is n² / 2⁶⁵, 3 in
    100 million for a million ids, 3 in a million for ten million. Python's hash of a text is keyed anew in each
    process, so nobody can prepare ids that collide.
    """

    def __init__(self) -> None:
        self._count = 0
        self._hashes, self._rows = _slots(_LEAST)

    def add(self, id: str, row: int) -> int | None:
        """Remember an id; return the row where it was seen first, or None if it is new.

        `row` counts from 1 and stays under 2³² (OverflowError). The first row stands whatever comes after.
        """
        if row < 1:
            raise ValueError(f"row={row}: rows count from 1")
        hashes, rows = self._hashes, self._rows
        key = hash(id) & 0xFFFF_FFFF_FFFF_FFFF
        mask = len(rows) - 1
        slot = key & mask
        while first := rows[slot]:
            if hashes[slot] == key:
                return first
            slot = (slot + 1) & mask
        rows[slot] = row
        hashes[slot] = key
        self._count += 1
        if self._count > len(rows) * _FULL:
            self._double()
        return None

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory of the table, in bytes."""
        return self._hashes.itemsize * len(self._hashes) + self._rows.itemsize * len(self._rows)

    def _double(self) -> None:
        hashes, rows = _slots(2 * len(self._rows))
        mask = len(rows) - 1
        for key, row in zip(self._hashes, self._rows, strict=True):
            if row:
                slot = key & mask
                while rows[slot]:
                    slot = (slot + 1) & mask
                hashes[slot], rows[slot] = key, row
        self._hashes, self._rows = hashes, rows


def _slots(size: int) -> tuple[array[int], array[int]]:
    return array("Q", bytes(8 * size)), array("I", bytes(4 * size))
