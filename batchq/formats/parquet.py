"""Parquet: a row an item, row group by row group, and of each only the columns that items are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats.columns import check_columns, item_of_row, needed
from batchq.formats.extras import need
from batchq.formats.items import ItemMaker
from batchq.formats.words import shown

_BATCH_BYTES = 4 * 2**20  # of a batch of rows, as the file estimates it
_BATCH_ROWS = 1_000
_BUFFER = 2**20


class ParquetRows:
    """The rows of a Parquet file. `columns` are its top-level ones; `count` its rows.

    `file` must be able to seek: a Parquet file is read from its end. Raises InputError for one that cannot be
    read, at the start or later.
    """

    def __init__(self, file: BinaryIO, maker: ItemMaker, name: str) -> None:
        parquet = need("parquet", "pyarrow.parquet")
        self._maker, self._name = maker, name
        with self._read():
            self._file = parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
            self.columns: list[str] = list(self._file.schema_arrow.names)
            self.count: int = self._file.metadata.num_rows
        doubled = next((one for one in self.columns if self.columns.count(one) > 1), None)
        if doubled is not None:
            raise InputError(f"{name} has two columns named {shown(doubled)}: rename one")
        if self.columns:
            check_columns(self.columns, maker, "the Parquet file")

    def __iter__(self) -> Iterator[Item | Complaint]:
        names = needed(self.columns, self._maker)
        row = 0
        with self._read():
            batches = self._file.iter_batches(batch_size=self._batch_rows(), columns=names, use_threads=False)
            for batch in batches:
                columns = [_values(batch.column(name)) for name in names]
                for values in zip(*columns, strict=True):
                    row += 1
                    yield item_of_row(self._maker, dict(zip(names, values, strict=True)), row)

    def _batch_rows(self) -> int:
        """So many that a batch of wide rows (images, documents) stays small too."""
        groups = (self._file.metadata.row_group(n) for n in range(self._file.metadata.num_row_groups))
        widest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
        return int(max(1, min(_BATCH_ROWS, _BATCH_BYTES / max(1, widest))))

    @contextmanager
    def _read(self) -> Iterator[None]:
        arrow = need("parquet", "pyarrow")
        try:
            yield
        except (arrow.ArrowException, OSError) as exc:
            raise InputError(f"{self._name} cannot be read as Parquet: {_first_line(exc)}") from None


def _values(column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # not UTF-8; a time that Python cannot hold: value by value, then
        return [_value(scalar) for scalar in column]
    return values


def _value(scalar: Any) -> Any:
    ways: tuple[Callable[[], Any], ...] = (
        scalar.as_py,
        lambda: scalar.cast("string").as_py(),  # nanoseconds
    )
    for way in ways:
        try:
            return way()
        except (ValueError, OverflowError, NotImplementedError):
            continue
    return b"\xff"  # holds what is no UTF-8 somewhere inside: told as such


def _first_line(exc: Exception) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0][:200]
