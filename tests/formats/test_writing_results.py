"""Results files: their three forms, and that one is there whole or as it was before."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from formats_helpers import Inputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchq.core.lifecycle import ItemState
from batchq.core.records import ErrorInfo, Outcome, Result, Usage
from batchq.errors import BatchqError, InputError
from batchq.formats import check_destination, result_line, write


def answered(id: str, text: str, **details: Any) -> Result:
    response = {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]}
    outcome = Outcome(ItemState.SUCCEEDED, response, attempts=1, **details)
    return Result(id, 0, "generate", outcome)


def refused(id: str, error: ErrorInfo | None, status: ItemState = ItemState.FAILED, **details: Any) -> Result:
    return Result(id, 0, "generate", Outcome(status, error=error, **details))


GOOD = answered(
    "q-17", "Four", duration_ms=812, waited_ms=4012, model="m", cost_usd=0.00011, usage=Usage(10, 5, 2)
)
BAD = refused("q-18", ErrorInfo(400, "INVALID_ARGUMENT", "no"), attempts=1)


def written(path: Path, *results: Result, format: str | None = None) -> str:
    write(results, check_destination(str(path), format))
    return path.read_bytes().decode()  # line ends as they are


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_line_of_success_is_what_the_contract_shows() -> None:
    assert result_line(GOOD) == {
        "key": "q-17",
        "response": GOOD.response,
        "batchq": {
            "status": "succeeded",
            "attempts": 1,
            "duration_ms": 812,
            "waited_ms": 4012,
            "model": "m",
            "cost_usd": 0.00011,
        },
    }
    assert list(result_line(GOOD)) == ["key", "response", "batchq"]


def test_a_line_of_failure_has_the_error_and_no_response() -> None:
    assert result_line(BAD) == {
        "key": "q-18",
        "error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "no"},
        "batchq": {"status": "failed", "attempts": 1},
    }


def test_an_item_that_was_cancelled_has_an_error_of_its_own() -> None:
    line = result_line(refused("c", None, ItemState.CANCELLED))
    assert line["error"]["status"] == "CANCELLED"
    assert line["error"]["code"] == 0


def test_json_lines_can_be_read_by_line_and_say_how_many(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    done = write([GOOD, BAD], check_destination(str(path)))

    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [result_line(GOOD), result_line(BAD)]
    assert (done.count, done.path, done.bytes) == (2, str(path), path.stat().st_size)


def test_json_is_one_list_also_when_empty(tmp_path: Path) -> None:
    assert json.loads(written(tmp_path / "none.json")) == []
    rows = json.loads(written(tmp_path / "two.json", GOOD, BAD))
    assert rows[0] == {
        "id": "q-17",
        "status": "succeeded",
        "text": "Four",
        "data": None,
        "error": None,
        "attempts": 1,
        "duration_ms": 812,
        "tokens": 15,
        "cost": 0.00011,
    }
    assert rows[1]["error"] == {"code": 400, "status": "INVALID_ARGUMENT", "message": "no"}


def test_csv_has_the_same_columns(tmp_path: Path) -> None:
    structured = answered("s", '{"total": 5}', structured=True)
    rows = list(csv.DictReader(io.StringIO(written(tmp_path / "out.csv", GOOD, BAD, structured))))

    assert list(rows[0]) == [
        "id",
        "status",
        "text",
        "data",
        "error",
        "attempts",
        "duration_ms",
        "tokens",
        "cost",
    ]
    assert (rows[0]["text"], rows[0]["tokens"], rows[0]["cost"]) == ("Four", "15", "0.00011")
    assert rows[1]["error"] == "INVALID_ARGUMENT: no"
    assert json.loads(rows[2]["data"]) == {"total": 5}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n"])
def test_no_csv_cell_is_run_by_a_spreadsheet(tmp_path: Path, start: str) -> None:
    evil = f"{start}HYPERLINK(1)"
    bad = refused(f"{start}id", ErrorInfo(0, evil, "x"))
    [good_row, bad_row] = csv.DictReader(
        io.StringIO(written(tmp_path / "out.csv", answered("a", evil), bad), newline="")
    )

    assert good_row["text"] == "'" + evil
    assert bad_row["id"].startswith("'")
    assert bad_row["error"].startswith("'")


NASTY = st.text(
    st.characters(codec=None) | st.sampled_from("\0\ud83d\ude00\udc00\u2028\x85\r\n\",';\ufeff"), max_size=30
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(NASTY, max_size=5))
def test_no_answer_breaks_a_file(tmp_path: Path, texts: list[str]) -> None:
    results = [answered(str(number), text) for number, text in enumerate(texts)]

    lines = written(tmp_path / "o.jsonl", *results).splitlines()  # splitlines: also at U+2028 and U+0085
    assert [json.loads(line)["key"] for line in lines] == [result.id for result in results]
    assert len(json.loads(written(tmp_path / "o.json", *results))) == len(texts)
    table = written(tmp_path / "o.csv", *results)
    assert "\0" not in table
    assert len(list(csv.DictReader(io.StringIO(table, newline=""), strict=True))) == len(texts)
    for line, text in zip(lines, texts, strict=True):
        if not any("\ud800" <= char <= "\udfff" for char in text):
            assert json.loads(line)["response"]["candidates"][0]["content"]["parts"][0]["text"] == text


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    outcome = Outcome(ItemState.SUCCEEDED, {"output": [float("nan"), float("inf"), 1.5]})
    [line] = written(tmp_path / "o.jsonl", Result("n", 0, "mine", outcome)).splitlines()

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(line, parse_constant=refuse)["response"] == {"output": [None, None, 1.5]}


@pytest.mark.parametrize(
    ("out", "format", "message"),
    [
        ("out.xlsx", None, "--format"),
        ("out", None, "--format"),
        ("out.jsonl", "jsnl", "did you mean 'jsonl'?"),
        ("", None, "empty"),
        ("nosuch://bucket/out.jsonl", None, "cannot be opened"),
        (".", None, "is a folder"),
        ("new/", None, "is a folder"),
        ("file.txt/out.jsonl", None, "not a directory"),
        ("/proc/out.jsonl", None, "cannot be written"),
        ("n" * 300 + ".jsonl", None, "cannot be written"),
    ],
)
def test_a_destination_that_cannot_be_written_is_refused_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, format: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.txt").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        check_destination(out, format)
    assert message in str(caught.value)
    assert names(tmp_path) == ["file.txt"]


def test_checking_a_destination_leaves_nothing_and_writing_makes_the_folders(tmp_path: Path) -> None:
    destination = check_destination(str(tmp_path / "a" / "b" / "out.txt"), "csv")
    assert names(tmp_path) == []
    write([GOOD], destination)
    assert names(tmp_path / "a" / "b") == ["out.txt"]


def test_an_existing_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    path.chmod(0o640)
    destination = check_destination(str(path))

    def results() -> Iterator[Result]:
        yield GOOD
        assert path.read_text() == "old\n"  # nothing is seen of the new one while it is written

    write(results(), destination)
    assert path.read_text().startswith('{"key": "q-17"')
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_mode_that_any_program_gives(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    written(tmp_path / "out.jsonl", GOOD)
    assert (tmp_path / "out.jsonl").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_a_link_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "out.jsonl").write_text("old")
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "real" / "out.jsonl")
    written(tmp_path / "out.jsonl", GOOD)

    assert (tmp_path / "out.jsonl").is_symlink()
    assert (tmp_path / "real" / "out.jsonl").read_text().startswith('{"key"')


@pytest.mark.parametrize(
    "error", [RuntimeError("broke off"), KeyboardInterrupt(), OSError(5, "the store's own")]
)
def test_results_that_break_off_leave_the_old_file_and_no_other(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")

    def results() -> Iterator[Result]:
        yield GOOD
        raise error

    with pytest.raises(type(error)) as caught:
        write(results(), check_destination(str(path)))
    assert caught.value is error
    assert names(tmp_path) == ["out.jsonl"]
    assert path.read_text() == "old\n"


LIMITED = """
import resource, sys
from batchq.core.lifecycle import ItemState
from batchq.core.records import Outcome, Result
from batchq.errors import BatchqError
from batchq.formats import check_destination, write
resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))
result = Result("a", 0, "mine", Outcome(ItemState.SUCCEEDED, {"output": "x" * 10_000}))
try:
    write([result] * 1_000, check_destination(sys.argv[1]))
except BatchqError as exc:
    print(exc)
"""


def test_a_disk_that_fills_up_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    got = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=30, check=True
    )

    assert "file too large" in got.stdout
    assert "Free some space" in got.stdout
    assert "batchq results JOB" in got.stdout
    assert names(tmp_path) == ["out.jsonl"]
    assert path.read_text() == "old\n"


def test_standard_output_is_written_as_it_comes() -> None:
    out = io.BytesIO()
    done = write([GOOD], check_destination("-"), stdout=out)
    assert (done.count, done.path, done.bytes) == (1, None, len(out.getvalue()))
    assert json.loads(out.getvalue()) == result_line(GOOD)


def test_standard_output_on_a_full_disk_is_told() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(BatchqError, match="no space left on device"),
    ):
        write([GOOD], check_destination("-"), stdout=full)


# Never a device of the machine: run as root, a broken writer would replace it for everybody.
def test_a_pipe_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert write([GOOD], check_destination(str(pipe))).count == 1
        assert json.loads(os.read(reader, 100_000)) == result_line(GOOD)
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_what_became_no_regular_file_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    destination = check_destination(str(path))
    os.mkfifo(path)
    with pytest.raises(BatchqError, match="no regular file"):
        write([GOOD], destination)
    assert path.is_fifo()
    assert names(tmp_path) == ["out.jsonl"]


def test_a_reader_that_goes_away_is_a_broken_pipe() -> None:
    parent, child = os.pipe()
    os.close(parent)
    with os.fdopen(child, "wb", buffering=0) as out, pytest.raises(BrokenPipeError):
        write([GOOD], check_destination("-"), stdout=out)


def test_what_is_written_can_be_read_again_as_a_list(tmp_path: Path, inputs: Inputs) -> None:
    table = written(tmp_path / "o.csv", answered("a", "two\nlines"), answered("b", "x;y"))
    assert [item.input for item in inputs.items("again.csv", table)] == [
        {"text": "two\nlines"},
        {"text": "x;y"},
    ]
