"""The readers on files that nobody here wrote: BATCHQ_TEST_DATA names their folder."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from formats_helpers import only_items

from batchq.core.records import FileRef
from batchq.formats import InputSpec, inspect, load, read

DATA = Path(os.environ.get("BATCHQ_TEST_DATA", ""))

pytestmark = pytest.mark.skipif(not os.environ.get("BATCHQ_TEST_DATA"), reason="BATCHQ_TEST_DATA is not set")


def test_googles_own_batch_file_is_read_as_it_is() -> None:
    path = DATA / "batch-jsonl" / "gemini_text_input.jsonl"
    reading = read(InputSpec(str(path)))
    items = only_items(list(reading))

    assert reading.format == "gemini"
    wanted = [json.loads(line) for line in path.read_text().splitlines()]
    assert [{"key": item.id, **item.input} for item in items] == wanted


def test_openais_batch_file_asks_what_it_asked_there() -> None:
    path = DATA / "batch-jsonl" / "openai_responses_input.jsonl"
    reading = read(InputSpec(str(path)))
    items = only_items(list(reading))

    assert reading.format == "openai"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [item.id for item in items] == [line["custom_id"] for line in lines]
    assert [item.input["request"] for item in items] == [
        {
            "contents": [{"role": "user", "parts": [{"text": line["body"]["input"]}]}],
            "systemInstruction": {"parts": [{"text": line["body"]["instructions"]}]},
            "generationConfig": {"maxOutputTokens": 160, "thinkingConfig": {"thinkingBudget": 1024}},
        }
        for line in lines
    ]


def test_two_thousand_questions_go_through_a_template() -> None:
    path = DATA / "gsm8k" / "train_0000-1999.jsonl"
    items = only_items(list(read(InputSpec(str(path), prompt="{question}"))))

    wanted = [json.loads(line)["question"] for line in path.read_text().split("\n") if line]
    assert [item.input["prompt"] for item in items] == wanted
    assert (items[0].id, items[-1].id) == ("00000001", "00002000")


def test_ten_thousand_messages_with_quoted_line_breaks() -> None:
    path = DATA / "banking77" / "train.csv"
    items = only_items(list(read(InputSpec(str(path)))))

    with path.open(newline="") as file:
        wanted = [row["text"] for row in csv.DictReader(file)]
    assert [item.input["text"] for item in items] == wanted
    assert len(items) == 10_003
    assert any("\n" in item.input["text"] for item in items)


@pytest.mark.parametrize("language", ["en", "de", "es", "zh", "ar", "ru"])
def test_questions_in_six_languages(language: str) -> None:
    path = DATA / "xquad" / f"questions.{language}.jsonl"
    items = only_items(list(read(InputSpec(str(path), prompt="{text}"))))

    lines = [json.loads(line) for line in path.read_text().split("\n") if line]
    assert [(item.id, item.input["prompt"]) for item in items] == [
        (line["id"], line["text"]) for line in lines
    ]


def test_receipts_are_what_their_labels_say() -> None:
    folder = DATA / "receipts-sroie"
    items = only_items(list(read(InputSpec(str(folder), glob="*.jpg"))))
    labels = {line["image"]: line for line in map(json.loads, (folder / "labels.jsonl").open())}

    assert {item.id for item in items} == set(labels)
    for item in items:
        ref = inspect(item.input["file"]["path"], item.id)
        assert isinstance(ref, FileRef)
        assert (ref.sha256, ref.size) == (labels[item.id]["sha256"], labels[item.id]["bytes"])
        assert len(load(ref, [str(folder)])) == ref.size
