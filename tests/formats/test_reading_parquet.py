"""Parquet files become items, a row each, in memory that does not grow with them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats_helpers import Inputs, only_complaint, only_items, problem_of

from batchq.errors import InputError
from batchq.formats import InputSpec, read


def table(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def rows(path: Path, **options: Any) -> Any:
    return list(read(InputSpec(str(path), **options)))


def test_rows_are_items_over_many_row_groups(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.parquet",
        {"id": [f"q-{n}" for n in range(25)], "prompt": [f"ask {n}" for n in range(25)], "x": range(25)},
        row_group_size=4,
    )
    with read(InputSpec(str(path))) as reading:
        assert (reading.format, reading.described) == ("parquet", "Parquet, 25 rows of 3 columns")
        items = only_items(list(reading))
    assert [(item.id, item.input) for item in items] == [
        (f"q-{n}", {"prompt": f"ask {n}"}) for n in range(25)
    ]
    assert items[4].place == "row 5"


def test_rows_go_through_a_template_with_every_type_spelt_as_text(tmp_path: Path) -> None:
    values = {
        "n": [7],
        "f": [1.5],
        "b": [True],
        "none": pa.array([None], pa.string()),
        "day": [date(2026, 11, 21)],
        "at": [datetime(2026, 11, 21, 8, 30)],
        "nano": pa.array([1_000_000_001], pa.timestamp("ns")),
        "money": [Decimal("10.50")],
        "tags": [["é", "b"]],
        "who": [{"name": "Bo"}],
        "raw": [b"bytes"],
        "a.b": ["dot"],
    }
    prompt = "|".join(f"{{{name}}}" for name in values if name != "a.b")
    [item] = only_items(rows(table(tmp_path / "a.parquet", values), prompt=prompt, id_field="a.b"))

    assert item.id == "dot"
    assert item.input["prompt"].split("|") == [
        "7",
        "1.5",
        "true",
        "",
        "2026-11-21",
        "2026-11-21T08:30:00",
        "1970-01-01 00:00:01.000000001",
        "10.50",
        '["é", "b"]',
        '{"name": "Bo"}',
        "bytes",
    ]


def test_a_row_names_a_file_beside_the_parquet_file(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", {"file": ["x.png", "../y.png"], "sku": [1, 2]})
    first, second = only_items(rows(path, id_field="sku"))
    assert (first.id, first.input["file"]["path"]) == ("1", os.path.realpath(tmp_path / "x.png"))
    assert problem_of(second).status == "FILE_OUTSIDE_ROOTS"


def test_a_bad_row_stays_alone(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.parquet",
        {"id": ["a", None, "c", "d"], "text": pa.array(["x", "y", None, b"\xff"], pa.binary())},
    )
    found = rows(path)
    assert (only_complaint(found).place, only_complaint(found).row) == ("row 2", 2)
    assert found[0].input == {"text": "x"}
    assert problem_of(found[2]).status == "EMPTY_PROMPT"
    assert problem_of(found[3]).status == "WRONG_TYPE"
    assert found[3].input == {}


def test_text_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffx")]
    )
    within = pa.StructArray.from_arrays([broken], ["inner"])
    path = table(tmp_path / "a.parquet", {"prompt": broken, "within": within})
    for options, wanted in (({}, "x"), ({"prompt": "{within}"}, '{"inner": "x"}')):
        first, second = rows(path, **options)
        assert problem_of(first).status == "WRONG_TYPE"
        assert second.input == {"prompt": wanted}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"PAR1", {}, "cannot be read as Parquet"),
        (b"not at all", {}, "cannot be read as Parquet"),
        (b"", {}, "cannot be read as Parquet"),
        (None, {"prompt": "{nope}"}, "the Parquet file does not have"),
        (None, {"id_field": "sk"}, "did you mean 'sku'?"),
        (None, {}, "the Parquet file has no column prompt"),
    ],
)
def test_what_is_no_list_is_refused(
    inputs: Inputs, content: bytes | None, options: dict[str, str], message: str
) -> None:
    if content is None:
        out = io.BytesIO()
        pq.write_table(pa.table({"sku": [1]}), out)
        content = out.getvalue()
    with pytest.raises(InputError) as caught:
        inputs.open("a.parquet", content, **options)
    assert message in str(caught.value)


def test_a_file_cut_off_in_the_middle_of_a_row_group_is_told(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.parquet",
        {"prompt": [f"{n:09}" for n in range(20_000)]},
        row_group_size=5_000,
        use_dictionary=False,
        compression="zstd",
    )
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data[at : at + 2_000] = bytes(2_000)
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        rows(path)


def test_columns_that_no_item_needs_are_not_read(tmp_path: Path) -> None:
    columns = {"prompt": ["x"] * 5_000, "broken": [f"{n:09}" for n in range(5_000)]}
    path = table(tmp_path / "a.parquet", columns, use_dictionary=False)
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data[at : at + 2_000] = bytes(2_000)
    path.write_bytes(data)
    assert len(only_items(rows(path))) == 5_000
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        rows(path, prompt="{prompt} {broken}")


def test_nothing_in_it_and_standard_input_are_refused(tmp_path: Path, inputs: Inputs) -> None:
    empty = table(tmp_path / "a.parquet", {"prompt": pa.array([], pa.string())})
    with pytest.raises(InputError, match="nothing in"):
        read(InputSpec(str(empty)))
    with pytest.raises(InputError, match="name the file"):
        inputs.piped(empty.read_bytes(), format="parquet")


def test_a_name_that_hides_the_form_is_told_the_option(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", {"prompt": ["x"]})
    path = path.rename(tmp_path / "a.csv")
    with pytest.raises(InputError, match="--input-format parquet"):
        rows(path)
    assert len(rows(path, format="parquet")) == 1


MEASURED = """
import psutil, sys, pyarrow.parquet
from batchq.formats import InputSpec, read
process = psutil.Process()
before = peak = process.memory_info().rss  # sampled: ru_maxrss would also know that of the process before exec
for number, _ in enumerate(read(InputSpec(sys.argv[1], prompt="{text}")), 1):
    if number % 100 == 0:
        peak = max(peak, process.memory_info().rss)
print(number, (peak - before) // 2**20)
"""


def test_memory_is_that_of_a_batch_not_of_the_file(tmp_path: Path) -> None:
    path, writer = tmp_path / "a.parquet", None
    texts = [os.urandom(5_000).hex() for _ in range(2_000)]
    for group in range(10):  # 10 row groups of 20 MB, and a column of 20 MB more that no item needs
        part = pa.table({"id": [f"{group}-{n}" for n in range(2_000)], "text": texts, "unused": texts})
        writer = writer or pq.ParquetWriter(path, part.schema, compression="none", use_dictionary=False)
        writer.write_table(part)
    assert writer is not None
    writer.close()
    got = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    number, megabytes = map(int, got.stdout.split())
    assert number == 20_000
    assert megabytes < 200, megabytes


def test_without_pyarrow_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path / "a.parquet", {"prompt": ["x"]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r'pip install "batchq\[parquet\]"'):
        rows(path)
