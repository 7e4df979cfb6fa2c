"""Lists of every form become items: in order, with the ids and inputs that docs/inputs.md promises."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any

import pytest
from formats_helpers import Inputs, only_items
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchq.core.records import Item
from batchq.errors import InputError
from batchq.formats import InputSpec, read

GEMINI = (
    '{"key": "a", "request": {"contents": [{"parts": [{"text": "One"}]}], "generationConfig": {"topK": 3}}}\n'
    '{"request": {"contents": [{"parts": [{"text": "Two"}]}], "generation_config": {"top_k": 3}}, "key": "b"}\n'
)


def test_gemini_batch_lines_keep_their_requests_as_they_are_wherever_the_key_stands(inputs: Inputs) -> None:
    reading = inputs.open("requests.jsonl", GEMINI)
    items = only_items(list(reading))

    assert reading.format == "gemini"
    assert [item.id for item in items] == ["a", "b"]
    assert items[1].input["request"]["generation_config"] == {"top_k": 3}


def test_batchq_lines_bring_each_kind_of_input_and_their_own_operation(inputs: Inputs) -> None:
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    lines: list[dict[str, Any]] = [
        {"id": "p", "prompt": "Hello"},
        {"key": "m", "messages": messages},
        {"custom_id": "t", "text": "embed me", "operation": "embed"},
        {"id": 7, "input": {"anything": [1, 2]}, "operation": "my_own"},
        {"prompt": "numbered"},
        {"id": "r", "request": {"contents": []}},
        {"text": "content", "prompt": "instruction", "id": "pt"},
    ]
    items = inputs.items("all.jsonl", "\n".join(map(json.dumps, lines)))

    assert [item.id for item in items] == ["p", "m", "t", "7", "00000005", "r", "pt"]
    assert [item.operation for item in items] == [None, None, "embed", "my_own", None, None, None]
    assert [dict(item.input) for item in items] == [
        {"prompt": "Hello"},
        {"messages": messages},
        {"text": "embed me"},
        {"anything": [1, 2]},
        {"prompt": "numbered"},
        {"request": {"contents": []}},
        {"prompt": "instruction", "text": "content"},
    ]
    assert not [item.problem for item in items if item.problem]


def test_a_line_names_a_file_relative_to_the_list(inputs: Inputs) -> None:
    inputs.path("scans/1.png", b"png")
    [item] = inputs.items("list.jsonl", '{"id": "x", "file": "scans/1.png", "prompt": "Read it"}')

    assert item.input == {
        "file": {"path": os.path.realpath(inputs.folder / "scans/1.png"), "name": "scans/1.png"},
        "prompt": "Read it",
    }


def test_whole_numbers_of_any_size_stay_exact(inputs: Inputs) -> None:
    big = 2**53 + 1
    [item] = inputs.items("big.jsonl", f'{{"id": {big}, "input": {{"n": {big * big}}}}}')

    assert item.id == str(big)
    assert item.input["n"] == big * big


def test_ids_of_rows_without_one_count_rows_not_lines(inputs: Inputs) -> None:
    items = inputs.items("gaps.jsonl", '\r\n\n{"prompt": "one"}\r\n   \n{"prompt": "two"}')

    assert [(item.id, item.place) for item in items] == [("00000001", "line 3"), ("00000002", "line 5")]


def test_a_byte_order_mark_and_windows_line_ends_are_taken(inputs: Inputs) -> None:
    marked = b"\xef\xbb\xbf"
    assert inputs.items("a.jsonl", marked + b'{"prompt": "x"}\r\n')[0].input == {"prompt": "x"}
    assert inputs.items("a.csv", marked + b'"prompt",n\r\nx,1\r\n')[0].input == {"prompt": "x"}
    assert inputs.items("a.txt", marked + b"x\r\n")[0].input == {"prompt": "x"}


def test_rows_go_through_the_template_whatever_holds_them(inputs: Inputs) -> None:
    prompt = "{question} ({n}) {{literal}}"
    wanted = "Why? (2) {literal}"

    assert inputs.items("a.jsonl", '{"question": "Why?", "n": 2}', prompt=prompt)[0].input == {
        "prompt": wanted
    }
    assert inputs.items("a.csv", "n,question\n2,Why?\n", prompt=prompt)[0].input == {"prompt": wanted}
    assert inputs.items("a.txt", "Why?\n", prompt="Q: {text}")[0].input == {"prompt": "Q: Why?"}


def test_a_line_with_the_templates_fields_is_a_row_though_it_has_a_text_of_its_own(inputs: Inputs) -> None:
    [item] = inputs.items("a.jsonl", '{"id": "q", "lang": "de", "text": "Hallo"}', prompt="{lang}: {text}")

    assert (item.id, item.input) == ("q", {"prompt": "de: Hallo"})


def test_the_id_field_is_taken_where_it_is_named(inputs: Inputs) -> None:
    assert inputs.items("a.csv", "prompt,sku\nx,S1\n", id_field="sku")[0].id == "S1"
    assert inputs.items("a.jsonl", '{"sku": 5, "prompt": "x"}', id_field="sku")[0].id == "5"
    assert inputs.items("a.jsonl", '{"sku": 5, "id": "other", "prompt": "x"}', id_field="sku")[0].id == "5"


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_finds_its_delimiter_and_reads_quoted_line_breaks(inputs: Inputs, mark: str) -> None:
    text = f'id{mark}text\n1{mark}"two\nlines, ""quoted"""\n2{mark}plain\n'
    reading = inputs.open("a.csv", text)
    items = only_items(list(reading))

    assert reading.described == "CSV, 2 columns"
    assert [item.input["text"] for item in items] == ['two\nlines, "quoted"', "plain"]
    assert [item.place for item in items] == ["line 2", "line 4"]


def test_csv_takes_a_prompt_and_a_file_column_together(inputs: Inputs) -> None:
    items = inputs.items("a.csv", "prompt,file\nRead it,a.png\nNo file,\n")

    assert items[0].input == {
        "prompt": "Read it",
        "file": {"path": os.path.realpath(inputs.folder / "a.png"), "name": "a.png"},
    }
    assert items[1].input == {"prompt": "No file"}


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (GEMINI, "gemini"),
        ('\n\n{"prompt": "x"}\n', "batchq"),
        ("prompt,lang\nx,de\n", "csv"),
        ("text\nx\n", "csv"),
        ("Why is the sky blue, and not green?\n", "text"),
        ("\ufeffprompt;lang\nx;de\n", "csv"),
    ],
)
def test_standard_input_is_told_by_its_first_line(inputs: Inputs, content: str, format: str) -> None:
    reading = inputs.piped(content)

    assert reading.format == format
    assert only_items(list(reading))


def test_standard_input_is_csv_where_its_first_line_names_the_fields_of_the_template(inputs: Inputs) -> None:
    content = "question,answer\nWhy?,So\n"

    assert inputs.piped(content, prompt="{question}").format == "csv"
    assert inputs.piped(content).format == "text"
    assert inputs.piped(content, format="text").format == "text"


def test_a_reading_is_a_stream_that_can_be_read_once(inputs: Inputs) -> None:
    reading = inputs.open("a.txt", "one\ntwo\n")
    with reading:
        assert len(list(reading)) == 2
        with pytest.raises(RuntimeError, match="read already"):
            iter(reading)


def test_standard_input_is_read_as_it_comes_and_left_open() -> None:
    parent, child = os.pipe()
    with os.fdopen(parent, "rb") as stdin, os.fdopen(child, "wb", buffering=0) as feed:
        feed.write(b'{"prompt": "one"}\n')
        with read(InputSpec("-"), stdin=stdin) as reading:
            rows = iter(reading)
            first = next(rows)  # the other end is still open: this would wait for ever if all were read first
        assert isinstance(first, Item)
        assert not stdin.closed


def test_a_pipe_that_the_shell_passes_on_is_read(inputs: Inputs) -> None:
    parent, child = os.pipe()
    os.write(child, b"one\n")
    os.close(child)
    try:
        reading = read(InputSpec(f"/dev/fd/{parent}", format="text"))
        assert [item.input for item in only_items(list(reading))] == [{"prompt": "one"}]
    finally:
        os.close(parent)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(TEXTS.filter(str.strip), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_any_texts_survive_csv_and_json_lines(inputs: Inputs, texts: list[str], mark: str) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=mark, quoting=csv.QUOTE_ALL)
    writer.writerows([["n", "text"], *([str(number), text] for number, text in enumerate(texts))])
    lines = "\n".join(json.dumps({"text": text}, ensure_ascii=bool(n % 2)) for n, text in enumerate(texts))

    assert [item.input["text"] for item in inputs.items("t.csv", out.getvalue())] == texts
    assert [item.input["text"] for item in inputs.items("t.jsonl", lines)] == texts


def test_an_input_is_never_written_to(inputs: Inputs) -> None:
    path = inputs.path("a.txt", "one\n")
    before = path.stat()
    list(read(InputSpec(str(path))))

    assert path.read_bytes() == b"one\n"
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_broken_stream_is_an_input_error(inputs: Inputs) -> None:
    class Broken(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            if not line:
                raise OSError(5, "Input/output error")
            return line

    reading = read(InputSpec("-"), stdin=Broken(b"one\n"))
    with pytest.raises(InputError, match="could not be read to its end"):
        list(reading)
