"""What is no list, or breaks one, is refused by line and with a remedy; what breaks one item stays with it."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from formats_helpers import Inputs, only_complaint, problem_of

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats import InputSpec, Template, item_from, read
from batchq.formats.strict_json import NotStrict, parse

GOOD = '{"prompt": "good"}'


def refusal(inputs: Inputs, name: str, content: str | bytes, **options: Any) -> str:
    """The message of an input that is refused as a whole, before any item."""
    with pytest.raises(InputError) as caught:
        inputs.open(name, content, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"prompt": "x"', "not JSON: expecting ',' delimiter at character 16"),
        (b"not json", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"prompt": "x"} {"prompt": "y"}', "not JSON: extra data"),
        (b'{"prompt": "\xff"}', "not UTF-8 at byte 13"),
        (b'{"prompt": "caf\xe9"}', "not UTF-8"),
        (b'{"prompt": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"prompt": "a\0b"}', "NUL byte"),
        (b'{"prompt": "x", "prompt": "y"}', "'prompt' appears twice"),
        (b'{"input": {"deep": {"a": 1, "a": 2}}}', "'a' appears twice"),
        (b'{"input": {"n": NaN}}', "NaN is not JSON"),
        (b'{"input": {"n": -Infinity}}', "-Infinity is not JSON"),
        (b'{"input": {"n": 1e999}}', "larger than any float"),
        (b'{"input": {"n": ' + b"9" * 5000 + b"}}", "too many digits"),
        (b'{"prompt": "half \\ud83d"}', "surrogate"),
        (b'{"input": {"\\udc00": 1}}', "surrogate"),
        (b'{"input": ' + b"[" * 64 + b"]" * 64 + b"}", "deeper than 64"),
        (b'{"input": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "deeper than 64"),
        (b'{"id": "", "prompt": "x"}', "'id' is empty"),
        (b'{"id": null, "prompt": "x"}', "'id' is null"),
        (b'{"id": true, "prompt": "x"}', "'id' is true or false"),
        (b'{"id": 1.5, "prompt": "x"}', "'id' is a number"),
        (b'{"id": ["a"], "prompt": "x"}', "'id' is a list"),
        (b'{"id": "a\\nb", "prompt": "x"}', "control character"),
        (b'{"key": "a\\u0000b", "prompt": "x"}', "'key' holds a control character"),
        (b'{"id": "' + b"i" * 513 + b'", "prompt": "x"}', "longer than 512 bytes"),
        ('{{"id": "{}", "prompt": "x"}}'.format("é" * 257).encode(), "longer than 512 bytes"),
        (b'{"promt": "x"}', "did you mean 'prompt'?"),
        (b'{"question": "x"}', "--prompt '{question}'"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_reading_goes_on(
    inputs: Inputs, line: bytes, problem: str
) -> None:
    content = b"\n".join([GOOD.encode(), b"", line, GOOD.encode()])
    rows = inputs.rows("a.jsonl", content)

    complaint = only_complaint(rows)
    assert complaint.place == "line 3"
    assert problem in complaint.problem
    assert complaint.row == 2
    assert [row.id for row in rows if isinstance(row, Item)] == ["00000001", "00000003"]


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "a/b c", "prompt": "x"}',
        json.dumps({"id": "i" * 512, "prompt": "x"}),
        json.dumps({"prompt": "emoji 😀 in halves that belong together"}),  # \\ud83d\\ude00
        json.dumps({"prompt": "a backslash \\ud83d that is text"}),
        '{"prompt": "NUL \\u0000 in a text"}',
        '{"input": ' + "[" * 63 + "]" * 63 + "}",
        '{"input": {"many": [' + ",".join(["{}"] * 500) + "]}}",
    ],
)
def test_what_is_only_unusual_is_taken(inputs: Inputs, line: str) -> None:
    [row] = inputs.rows("a.jsonl", line)
    assert isinstance(row, Item)
    assert row.problem is None or row.problem.status == "WRONG_TYPE"  # an input that is a list


@pytest.mark.parametrize(
    "text", ["[1e400]", "[-1e400]", '{"a": {"b": 1, "b": 1}}', "[Infinity]", "", " ", "{"]
)
def test_strict_json_refuses(text: str) -> None:
    with pytest.raises(NotStrict):
        parse(text)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n \r\n\n"])
def test_an_empty_list_is_refused(inputs: Inputs, name: str, content: bytes) -> None:
    assert "nothing in" in refusal(inputs, name, content)


def test_a_csv_header_without_rows_is_an_empty_list(inputs: Inputs) -> None:
    assert "nothing in" in refusal(inputs, "a.csv", "prompt,lang\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named_with_the_remedy(inputs: Inputs, encoding: str) -> None:
    for name in ("a.jsonl", "a.csv", "a.txt"):
        message = refusal(inputs, name, '{"prompt": "hello"}\n'.encode(encoding))
        assert encoding.upper().replace("-LE", "").replace("-BE", "") in message
        assert "iconv -f" in message


@pytest.mark.parametrize(
    ("magic", "remedy"),
    [
        (b"\x1f\x8b\x08\x00", "zcat"),
        (b"\x28\xb5\x2f\xfd", "zstdcat"),
        (b"%PDF-1.7\n", "--input-format files"),
        (b"PK\x03\x04", "CSV"),
    ],
)
def test_binary_content_is_named_with_the_remedy(inputs: Inputs, magic: bytes, remedy: str) -> None:
    assert remedy in refusal(inputs, "a.jsonl", magic + b"rest")
    with pytest.raises(InputError, match=remedy):
        inputs.piped(magic + b"rest")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.json", {}, "jq -c"),
        ("a.jsonl.gz", {}, "zcat"),
        ("a.xyz", {}, "--input-format"),
        ("noext", {}, "--input-format"),
        ("a.jsonl", {"format": "cvs"}, "did you mean 'csv'?"),
        ("a.jsonl", {"glob": "*.png"}, "--glob"),
    ],
)
def test_a_form_that_cannot_be_found_is_refused(
    inputs: Inputs, name: str, options: dict[str, str], message: str
) -> None:
    assert message in refusal(inputs, name, '{"prompt": "x"}', **options)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jsonl", "there is no file or folder 'nowhere.jsonl'"),
        ("*.png", "--glob"),
        ("nosuch://bucket/a.jsonl", "cannot be opened"),
        ("postgresql://host/db", "--query"),
        ("a\0b", "cannot be read"),
        ("/dev/zero", "no regular file"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(source: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(InputSpec(source))
    assert message in str(caught.value)


def test_a_fifo_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="batchq run -"):
        read(InputSpec(str(tmp_path / "a.jsonl")))


def test_a_gemini_list_complains_of_a_line_without_request(inputs: Inputs) -> None:
    rows = inputs.rows("a.jsonl", '{"key": "a", "request": {"contents": []}}\n{"key": "b", "prompt": "x"}\n')
    assert "no request" in only_complaint(rows).problem


CAPPED = """
import resource, sys
from batchq.formats import InputSpec, read
resource.setrlimit(resource.RLIMIT_AS, (700 * 2**20,) * 2)
for row in read(InputSpec(sys.argv[1])):
    print(row)
"""


def test_a_line_of_a_gigabyte_is_refused_without_holding_it(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    with path.open("wb") as file:
        file.write(b"first\n")
        for _ in range(600):  # spaces: a sparse file would be NUL bytes
            file.write(b" " * 2**20)
        file.write(b"\nlast\n")
    got = subprocess.run(
        [sys.executable, "-c", CAPPED, str(path)], capture_output=True, text=True, timeout=60
    )

    first, long, last = got.stdout.splitlines()
    assert "'first'" in first
    assert long.startswith("line 2: longer than 64 MB")
    assert "'last'" in last


def test_a_line_that_never_ends_is_given_up() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            self.given += size
            return b"x" * size

    stdin = Endless()
    [complaint] = read(InputSpec("-"), stdin=stdin)  # type: ignore[arg-type]

    assert "reading stops here" in str(complaint)
    assert stdin.given < 1.2 * 2**30


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ({"id": "a"}, "EMPTY_PROMPT", "no prompt"),
        ({"prompt": ""}, "EMPTY_PROMPT", "prompt is empty"),
        ({"prompt": " \n\t"}, "EMPTY_PROMPT", "prompt is empty"),
        ({"messages": []}, "EMPTY_PROMPT", "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "EMPTY_PROMPT", "messages"),
        ({"request": {}}, "EMPTY_PROMPT", "request"),
        ({"prompt": 5}, "WRONG_TYPE", "prompt is a number"),
        ({"prompt": None}, "WRONG_TYPE", "prompt is null"),
        ({"prompt": ["x"]}, "WRONG_TYPE", "prompt is a list"),
        ({"text": {"x": 1}}, "WRONG_TYPE", "text is an object"),
        ({"input": "x"}, "WRONG_TYPE", "input is a text"),
        ({"request": "x"}, "WRONG_TYPE", "GenerateContentRequest"),
        ({"messages": "x"}, "WRONG_TYPE", "messages is a text"),
        ({"messages": ["x"]}, "WRONG_TYPE", "messages[1]"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "WRONG_TYPE", "'boss'"),
        ({"messages": [{"role": "user", "content": 1}]}, "WRONG_TYPE", "content"),
        ({"messages": [{"role": "user", "content": "x", "nme": 1}]}, "UNKNOWN_FIELD", "'nme'"),
        ({"prompt": "x", "operation": 5}, "WRONG_TYPE", "operation"),
        ({"prompt": "x", "file": 5}, "WRONG_TYPE", "file"),
        ({"prompt": "x", "operatoin": "embed"}, "UNKNOWN_FIELD", "did you mean 'operation'?"),
        ({"prompt": "x", "messages": []}, "AMBIGUOUS_INPUT", "prompt, messages"),
        ({"text": "x", "file": "y"}, "AMBIGUOUS_INPUT", "text, file"),
        ({"prompt": "x" * 4_000_001}, "TOO_LARGE", "4.0 MB"),
        ({"prompt": "é" * 2_000_001}, "TOO_LARGE", "4.0 MB"),
        ({"input": {"a": "x" * 2_000_001, "b": ["x" * 2_000_000]}}, "TOO_LARGE", "4.0 MB"),
        ({"file": "https://example.com/a.png"}, "FILE_UNREADABLE", "URL"),
        ({"file": ""}, "FILE_UNREADABLE", "empty"),
    ],
)
def test_what_is_wrong_with_one_item_stays_with_it(
    inputs: Inputs, line: dict[str, Any], status: str, message: str
) -> None:
    rows = inputs.rows("a.jsonl", f"{GOOD}\n{json.dumps(line)}\n{GOOD}\n")

    problem = problem_of(rows[1])
    assert problem.status == status
    assert message in problem.message
    assert [isinstance(row, Item) and row.problem is None for row in rows] == [True, False, True]


def test_a_text_just_small_enough_and_inline_data_are_taken(inputs: Inputs) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": "A" * 20_000_000}}
    lines = [{"prompt": "x" * 4_000_000}, {"request": {"contents": [{"parts": [part]}]}}]
    items = inputs.items("a.jsonl", "\n".join(map(json.dumps, lines)))

    assert [item.problem for item in items] == [None, None]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "out/secret.png"])
def test_a_list_names_no_files_outside_of_its_folder(inputs: Inputs, name: str) -> None:
    secret = inputs.folder.parent / "secret.png"
    secret.write_bytes(b"secret")
    (inputs.folder / "out").symlink_to(inputs.folder.parent)
    by_json = inputs.rows("a.jsonl", json.dumps({"file": name}))
    by_csv = inputs.rows("a.csv", f"file\n{name}\n")

    assert problem_of(by_json[0]).status == problem_of(by_csv[0]).status == "FILE_OUTSIDE_ROOTS"


def test_a_list_may_name_files_of_the_file_roots(inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    line = json.dumps({"file": str(tmp_path / "root" / "a.png")})
    [item] = inputs.items("a.jsonl", line, roots=(str(tmp_path / "root"),))

    assert item.problem is None


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,a\n1,2\n", {"prompt": "{a}"}, "'a' twice"),
        ("text,\n1,2\n", {}, "column 2 has no name"),
        (",text\n0,x\n", {}, "index=False"),
        ("question,answer\nq,a\n", {}, "--prompt '{question}'"),
        ("question,answer\nq,a\n", {"prompt": "{questoin}"}, "did you mean 'question'?"),
        ("question,answer\nq,a\n", {"prompt": "no field"}, "every row would ask the same"),
        ("text\nq\n", {"id_field": "txt"}, "did you mean 'text'?"),
        ('"te"xt,b\n1,2\n', {}, "header"),
        (b"t\xe9xt,prompt\n1,2\n", {}, "not UTF-8"),
    ],
)
def test_a_csv_header_that_no_row_could_go_by_is_refused(
    inputs: Inputs, content: str | bytes, options: dict[str, str], message: str
) -> None:
    assert message in refusal(inputs, "a.csv", content, **options)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"only one", "1 columns where the header has 2"),
        (b"a,b,c", "3 columns where the header has 2"),
        (b'"a"b,c', "double it"),
        (b"a\rb,c", "carriage return"),
        (b"caf\xe9,b", "not UTF-8 at byte 4"),
        (b'"two\nlines \xff",b', "not UTF-8"),
        (b"a\0,b", "NUL byte"),
    ],
)
def test_a_bad_csv_row_is_told_by_its_line_and_reading_goes_on(
    inputs: Inputs, row: bytes, message: str
) -> None:
    rows = inputs.rows("a.csv", b"prompt,n\nfirst,1\n\n" + row + b"\nlast,2\n")

    complaint = only_complaint(rows)
    assert complaint.place == "line 4"
    assert message in complaint.problem
    assert [row.input["prompt"] for row in rows if isinstance(row, Item)] == ["first", "last"]


def test_a_quote_that_never_closes_is_told_where_it_opens(inputs: Inputs) -> None:
    complaint = only_complaint(inputs.rows("a.csv", 'prompt,n\nok,1\n"open,2\nx,3\n'))
    assert (complaint.place, "never closes" in complaint.problem) == ("line 3", True)


def test_a_csv_row_cannot_grow_without_end(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchq.formats.table.MAX_LINE_BYTES", 10_000)
    rows = inputs.rows("a.csv", 'prompt,n\nok,1\n"open,2\n' + "x,3\n" * 5_000 + "last,4\n")

    assert isinstance(rows[1], Complaint)
    assert rows[1].place == "line 3"
    assert isinstance(rows[-1], Item)
    assert rows[-1].input == {"prompt": "last"}


@pytest.mark.parametrize(
    ("row", "status"),
    [('"",1', "EMPTY_PROMPT"), (",", "EMPTY_PROMPT"), ("x" * 4_000_001 + ",1", "TOO_LARGE")],
)
def test_a_csv_item_with_a_problem_stays_an_item(inputs: Inputs, row: str, status: str) -> None:
    assert problem_of(inputs.rows("a.csv", f"prompt,n\n{row}\n")[0]).status == status


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("{", "lone '{'"),
        ("a } b", "lone '}'"),
        ("{text", "lone '{'"),
        ("{}", "names no field"),
        ("{text.upper}", "attributes"),
        ("{text!r}", "conversions"),
        ("{text:>3}", "format specs"),
        ("{text[0]}", "indexes"),
        ("{txt}", "did you mean 'text'?"),
        ("no field at all", "{text}"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused_before_any_row(
    inputs: Inputs, prompt: str, message: str
) -> None:
    assert message in refusal(inputs, "a.txt", "one\ntwo\n", prompt=prompt)


def test_a_template_or_id_field_that_the_first_json_row_lacks_is_refused_at_once(inputs: Inputs) -> None:
    rows = '{"question": "a", "n": 1}\n' * 3

    assert "did you mean 'question'?" in refusal(inputs, "a.jsonl", rows, prompt="{questoin}")
    assert "It has: question, n" in refusal(inputs, "a.jsonl", rows, prompt="{question}", id_field="sku")
    assert "whole requests" in refusal(inputs, "g.jsonl", '{"key": "a", "request": {}}', prompt="{key}")


def test_a_later_json_row_without_the_field_is_a_complaint(inputs: Inputs) -> None:
    rows = inputs.rows("a.jsonl", '{"q": "a"}\n{"w": "b"}\n{"q": "c"}\n', prompt="{q}")
    complaint = only_complaint(rows)

    assert (complaint.place, "no field 'q'" in complaint.problem) == ("line 2", True)


def test_rows_whose_fields_are_all_empty_ask_nothing(inputs: Inputs) -> None:
    rows = inputs.rows("a.csv", "a,b\n,x\n", prompt="Translate: {a}")
    assert problem_of(rows[0]).status == "EMPTY_PROMPT"


def test_complaints_quote_no_prompts(inputs: Inputs) -> None:
    secret = "patient 4711 has a secret"
    lines = [
        f'{{"prompt": "{secret}"',
        f'{{"prompt": "{secret}", "n": NaN}}',
        f'{{"id": "{secret}\\n", "prompt": 1}}',
    ]
    for row in inputs.rows("a.jsonl", "\n".join(lines)):
        assert secret not in str(row)


def test_names_from_the_input_stand_on_one_short_line(inputs: Inputs) -> None:
    key = "evil\n\u001b[31m" + "x" * 10_000
    [row] = inputs.rows("a.jsonl", json.dumps({"prompt": "x", key: 1}))
    message = problem_of(row).message

    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.parametrize(
    ("raw", "id", "input"),
    [
        ("Hello", "00000003", {"prompt": "Hello"}),
        (("q", "Hello"), "q", {"prompt": "Hello"}),
        ((7, "Hello"), "7", {"prompt": "Hello"}),
        ({"id": "d", "text": "Hello"}, "d", {"text": "Hello"}),
        ({"key": "g", "request": {"contents": [1]}}, "g", {"request": {"contents": [1]}}),
        (Item("i", {"own": (1, 2)}, operation="mine"), "i", {"own": (1, 2)}),
    ],
)
def test_python_callers_give_items_in_any_of_four_shapes(raw: Any, id: str, input: dict[str, Any]) -> None:
    item = item_from(raw, 3, None)

    assert (item.id, item.input, item.problem) == (id, input, None)
    assert item.place == "item 3"


def test_python_callers_templates_fill_prompts_and_rows() -> None:
    template = Template("Say {text}")

    assert item_from("hi", 1, template).input == {"prompt": "Say hi"}
    assert item_from(("a", "hi"), 1, template).input == {"prompt": "Say hi"}
    assert item_from({"id": 1, "text": "hi", "x": 2}, 1, template).input == {"prompt": "Say hi"}
    with pytest.raises(InputError, match="every line would ask the same"):
        item_from("hi", 1, Template("literal"))
    with pytest.raises(InputError, match="did you mean 'text'"):
        item_from("hi", 1, Template("{txt}"))


@pytest.mark.parametrize(
    "raw",
    [
        5,
        None,
        ("a", "b", "c"),
        ["a", "b"],
        ("", "x"),
        (None, "half \ud800"),
        "half \ud800",
        {"prompt": "half \udc00"},
        {"input": {"n": float("nan")}},
        {"input": {"when": object()}},
        {"input": {"bytes": b"x"}},
        {"id": "a\nb", "prompt": "x"},
        Item("", {"prompt": "x"}),
    ],
)
def test_python_values_that_are_no_item_are_input_errors_that_name_the_row(raw: Any) -> None:
    with pytest.raises(InputError, match="item 3: ") as caught:
        item_from(raw, 3, None)
    [complaint] = caught.value.complaints
    assert complaint.row == 3


def test_a_python_value_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["input"] = loop
    with pytest.raises(InputError):
        item_from(loop, 1, None)


def test_memory_stays_flat_while_a_large_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    line = json.dumps({"prompt": "x" * 1000}).encode() + b"\n"
    with path.open("wb") as file:
        file.writelines(line for _ in range(60_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(1 for _ in read(InputSpec(str(path))))

    assert count == 60_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB; the file has 60 MB
