"""Results as a Parquet file, a row group at a time: no more than that is held, and nothing is sought back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from batchq.core.records import JsonObject, Result
from batchq.formats.extras import need
from batchq.formats.writers.flat import Column, Fields, columns_of, flat_row

_GROUP_ROWS = 10_000
_GROUP_BYTES = 16 * 2**20  # of texts and vectors
_FLOAT_BYTES = 32  # as Python holds it in a list
_TYPES = {"text": "string", "json": "string", "integer": "int64", "number": "float64", "boolean": "bool_"}


class _Sink:
    """Takes what the writer writes, to be handed on."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def taken(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """There is nothing to close."""


def parquet_table(results: Iterable[Result], fields: Fields) -> Iterator[bytes]:
    """A row a result; `data` and lists as JSON texts, vectors as lists of float32. A file without a result has the columns."""
    arrow, parquet = need("parquet", "pyarrow"), need("parquet", "pyarrow.parquet")
    columns = columns_of(fields)
    schema = arrow.schema([(column.name, _type(arrow, column)) for column in columns])
    sink = _Sink()
    with parquet.ParquetWriter(arrow.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for rows in _groups(results, fields):
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
            yield sink.taken()
    yield sink.taken()


def _type(arrow: Any, column: Column) -> Any:
    if column.kind == "vector":
        return arrow.list_(arrow.float32())
    return getattr(arrow, _TYPES[column.kind])()


def _size(value: Any) -> int:
    if isinstance(value, list):
        return _FLOAT_BYTES * len(value)
    return len(value) if isinstance(value, str) else 0


def _groups(results: Iterable[Result], fields: Fields) -> Iterator[list[JsonObject]]:
    rows: list[JsonObject] = []
    size = 0
    for result in results:
        row = flat_row(result, fields)
        rows.append(row)
        size += sum(map(_size, row.values()))
        if len(rows) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows
