"""Results as plain columns: of csv and of Parquet, with the fields of the job's schema."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats_helpers import only_items
from test_writing_results import BAD, GOOD, answered, names, refused

from batchq.core.lifecycle import ItemState
from batchq.core.records import ErrorInfo, Outcome, Result
from batchq.errors import InputError
from batchq.formats import InputSpec, check_destination, read, write
from batchq.formats.writers.flat import flat_fields

SCHEMA = {
    "type": "object",
    "properties": {
        "total": {"type": "number"},
        "items": {"type": "integer"},
        "paid": {"type": ["boolean", "null"]},
        "seller": {"$ref": "#/$defs/Seller"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "$defs": {
        "Seller": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "parent": {"$ref": "#/$defs/Seller"}},
        }
    },
}
ANSWER = {
    "total": 5,
    "items": 3.0,
    "paid": True,
    "seller": {"name": "=Bo", "parent": {"name": "Co"}},
    "tags": ["a", "b"],
    "note": None,
}


def structured(id: str, data: Any) -> Result:
    return answered(id, json.dumps(data), structured=True)


def parquet(path: Path, *results: Result, schema: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    write(results, check_destination(str(path)), schema=schema)
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_the_fields_of_a_schema_are_columns_by_their_paths() -> None:
    columns = flat_fields(SCHEMA)
    assert [(column.name, column.kind) for column in columns[:4]] == [
        ("data_total", "number"),
        ("data_items", "integer"),
        ("data_paid", "boolean"),
        ("data_seller_name", "text"),
    ]
    assert ("data_tags", "json") in [(column.name, column.kind) for column in columns]
    assert ("data_note", "text") in [(column.name, column.kind) for column in columns]
    assert len(columns) < 12  # a schema that holds itself is not followed for ever


def test_columns_that_a_database_could_not_tell_apart_are_left_to_data() -> None:
    properties: dict[str, Any] = {
        name: {"type": "string"} for name in ("Total", "total", "a_b", "n" * 60, "line\nend")
    }
    properties["a"] = {"type": "object", "properties": {"b": {"type": "string"}}}
    columns = flat_fields({"type": "object", "properties": properties})
    assert [column.name for column in columns] == ["data_Total", "data_a_b"]
    assert flat_fields({"type": "array"}) == flat_fields(None) == flat_fields({"properties": 5}) == ()
    wide = {str(number): {"type": "string"} for number in range(1_000)}
    assert len(flat_fields({"properties": wide})) == 200


def test_parquet_has_typed_columns_and_a_null_where_nothing_is(tmp_path: Path) -> None:
    good, bad, plain = parquet(tmp_path / "o.parquet", structured("s", ANSWER), BAD, GOOD, schema=SCHEMA)

    assert good["data_total"] == 5.0
    assert (good["data_items"], good["data_paid"], good["data_note"]) == (3, True, None)
    assert (good["data_seller_name"], good["data_seller_parent_name"]) == ("=Bo", "Co")
    assert json.loads(good["data_tags"]) == ["a", "b"]
    assert json.loads(good["data"]) == ANSWER
    assert bad["error"] == "INVALID_ARGUMENT: no"
    assert {name for name, value in bad.items() if value is not None} == {
        "id",
        "status",
        "error",
        "attempts",
        "duration_ms",
        "tokens",
    }
    assert (plain["id"], plain["text"], plain["tokens"], plain["cost"]) == ("q-17", "Four", 15, 0.00011)
    types = {field.name: field.type for field in pq.read_schema(tmp_path / "o.parquet")}
    assert types["cost"] == pa.float64()
    assert types["attempts"] == types["data_items"] == pa.int64()
    assert types["data_paid"] == pa.bool_()


def test_an_answer_that_does_not_fit_a_column_is_null_there_and_whole_in_data(tmp_path: Path) -> None:
    odd = {"total": "five", "items": 2**70, "paid": 1, "seller": "Bo", "note": 5, "tags": float("nan")}
    [row] = parquet(tmp_path / "o.parquet", structured("s", odd), schema=SCHEMA)
    assert {name: value for name, value in row.items() if name.startswith("data_")} == {
        "data_total": None,
        "data_items": None,
        "data_paid": None,
        "data_tags": "null",
        "data_note": None,
        **{name: None for name in row if name.startswith("data_seller")},
    }
    assert json.loads(row["data"])["items"] == 2**70


def test_parquet_has_vectors_as_float32(tmp_path: Path) -> None:
    vector = [0.25, -1.5, 1 / 3]
    embedded = Result("e", 0, "embed", Outcome(ItemState.SUCCEEDED, {"embedding": {"values": vector}}))
    path = tmp_path / "out.parquet"
    write([embedded, BAD, structured("s", [1])], check_destination(str(path)), vectors=True)
    table = pq.read_table(path)
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert table.column("embedding").to_pylist() == [[0.25, -1.5, pytest.approx(1 / 3, rel=1e-7)], None, None]
    assert table.column("data").to_pylist() == [None, None, "[1]"], "and what is no vector stays data"
    plain = tmp_path / "out.csv"
    write([embedded], check_destination(str(plain)), vectors=True)
    (row,) = csv.DictReader(plain.open(newline=""))
    assert json.loads(row["data"]) == vector


def test_parquet_without_results_has_the_columns(tmp_path: Path) -> None:
    assert parquet(tmp_path / "o.pq", schema={"properties": {"total": {"type": "number"}}}) == []
    assert pq.read_schema(tmp_path / "o.pq").names[-2:] == ["cost", "data_total"]


def test_parquet_takes_what_no_reader_of_utf8_would(tmp_path: Path) -> None:
    [row] = parquet(tmp_path / "o.parquet", answered("a", "half \ud83d and \0"))
    assert row["text"] == "half \ufffd and \0"


def test_parquet_is_written_a_row_group_at_a_time_also_to_standard_output() -> None:
    out, sizes = io.BytesIO(), []

    def results() -> Iterator[Result]:
        for number in range(25_000):
            if number % 10_000 == 0:
                sizes.append(out.tell())
            yield answered(str(number), f"answer {number}")

    done = write(results(), check_destination("-", "parquet"), stdout=out)
    assert sizes[0] == 0 < sizes[1] < sizes[2] < done.bytes == len(out.getvalue())
    file = pq.ParquetFile(out)
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [10_000, 10_000, 5_000]
    assert file.read(["id"]).column("id").to_pylist() == [str(number) for number in range(25_000)]


def test_a_parquet_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    path.write_bytes(b"old")

    def results() -> Iterator[Result]:
        yield GOOD
        raise RuntimeError("broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        write(results(), check_destination(str(path)))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["o.parquet"]


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    parquet(tmp_path / "o.parquet", GOOD, answered("b", "Five"))
    items = only_items(list(read(InputSpec(str(tmp_path / "o.parquet")))))
    assert [(item.id, item.input) for item in items] == [("q-17", {"text": "Four"}), ("b", {"text": "Five"})]


def test_csv_has_the_fields_too_and_runs_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    own = Result("o", 0, "mine", Outcome(ItemState.SUCCEEDED, {"output": {"total": -1.5, "items": True}}))
    failed = refused("f", ErrorInfo(0, "BLOCKED", "no"))
    write([structured("s", ANSWER), own, failed], check_destination(str(path)), schema=SCHEMA)
    with path.open(newline="") as file:
        first, second, third = csv.DictReader(file)
    assert list(first)[:10] == [
        *("id", "status", "text", "data", "error", "attempts", "duration_ms", "tokens", "cost"),
        "data_total",
    ]
    assert (first["data_total"], first["data_items"], first["data_paid"]) == ("5.0", "3", "true")
    assert first["data_seller_name"] == "'=Bo"
    assert (second["data_total"], second["data_items"]) == ("-1.5", "")
    assert {value for name, value in third.items() if name.startswith("data_")} == {""}


def test_without_pyarrow_a_parquet_file_is_refused_before_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for out, form in ((str(tmp_path / "o.parquet"), None), ("-", "parquet"), ("memory://o.parquet", None)):
        with pytest.raises(InputError, match=r'pip install "batchq\[parquet\]"'):
            check_destination(out, form)
