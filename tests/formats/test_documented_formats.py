"""docs/inputs.md and docs/results.md are true: their examples are read, and their statuses are ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

from formats_helpers import Inputs
from test_writing_results import BAD, GOOD

from batchq.formats import FORMATS, OUTPUT_FORMATS, files, items, result_line
from batchq.formats.extras import _NEEDS
from batchq.formats.openai.settings import CHAT, RESPONSES
from batchq.formats.writers.flat import COLUMNS

DOCS = Path(__file__).parents[2] / "docs"
STATUS = re.compile(r'(?:ErrorInfo\(0, |kind=)"([A-Z_]+)"')


def examples(page: str) -> list[str]:
    return re.findall(r"^```json\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_examples_of_inputs_are_items(inputs: Inputs) -> None:
    gemini, openai, own = examples("inputs.md")

    assert [item.id for item in inputs.items("g.jsonl", gemini)] == ["q-1"]
    asked, read = inputs.items("o.jsonl", openai), inputs.items("b.jsonl", own)
    assert [item.id for item in asked] == ["q-1", "q-2"]
    assert [item.id for item in read] == ["q-1", "q-2", "q-3", "q-4", "q-5"]
    assert not [item.problem for item in (*asked, *read) if item.problem]


def test_every_field_of_openai_is_documented() -> None:
    page = (DOCS / "inputs.md").read_text()
    fields = {*CHAT, *RESPONSES} - {
        "model",
        "stream",
        "logit_bias",
        "modalities",
        "include",
        "parallel_tool_calls",
    }
    fields -= {"presence_penalty", "frequency_penalty", "reasoning", "text"}
    assert sorted(name for name in fields if f"`{name}`" not in page) == []


def test_the_examples_of_results_have_the_shape_of_our_lines() -> None:
    [block] = examples("results.md")
    good, bad = map(json.loads, block.splitlines())

    for shown, made in ((good, result_line(GOOD)), (bad, result_line(BAD))):
        assert list(shown) == list(made)
        assert list(shown["batchq"]) == list(made["batchq"])


def test_every_column_and_every_status_of_ours_is_documented() -> None:
    page = (DOCS / "results.md").read_text()
    package = Path(str(files.__file__)).parents[1]
    sources = [path.read_text() for path in package.rglob("*.py") if "emulator" not in path.parts]
    googles = {"INVALID_ARGUMENT", "UNAUTHENTICATED", "UNKNOWN"}
    statuses = {status for source in sources for status in STATUS.findall(source)} - googles

    assert {"EMPTY_PROMPT", "FILE_CHANGED", "BLOCKED"} <= statuses
    assert sorted(status for status in statuses if f"`{status}`" not in page) == []
    assert [column for column in COLUMNS if f"`{column}`" not in page] == []


def test_every_form_is_documented() -> None:
    read, written = (DOCS / "inputs.md").read_text(), (DOCS / "results.md").read_text()
    assert [form for form in FORMATS if f"| `{form}` |" not in read] == []
    assert f"`--format {'|'.join(OUTPUT_FORMATS)}`" in written
    assert [
        extra for extra in _NEEDS if f'"batchq[{extra}]"' not in read or f'"batchq[{extra}]"' not in written
    ] == []


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (items.MAX_TEXT_BYTES, items.MAX_INLINE_BYTES) == (4_000_000, 28_000_000)
    assert (items.MAX_ID_BYTES, files.MAX_FILE_BYTES) == (512, 20_000_000)
