"""The examples are what their READMEs say, so that `make run` shows the system and not a broken input."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image, ImageChops

from batchq.core.records import Item
from batchq.formats import InputSpec, read
from batchq.operations.schemas import check_schema

EXAMPLES = Path(__file__).parents[2] / "examples"
MESSAGES, INVOICES = EXAMPLES / "messages", EXAMPLES / "invoices"
SCANS = sorted((INVOICES / "scans").iterdir())
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".tiff": "TIFF"}


def read_json(file: Path) -> dict[str, Any]:
    document = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def messages() -> list[dict[str, str]]:
    with (MESSAGES / "messages.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("redrawn")
    subprocess.run([sys.executable, INVOICES / "draw.py", folder], check=True, timeout=60)
    return folder


def test_there_are_200_different_messages_with_ids_in_order() -> None:
    rows = messages()
    assert [row["id"] for row in rows] == [f"msg-{place:03d}" for place in range(1, 201)]
    assert len({row["text"] for row in rows}) == 200
    assert all(row["text"].strip() and row["channel"] for row in rows)


def test_the_prompt_names_only_columns_of_the_messages() -> None:
    prompt = (MESSAGES / "prompt.txt").read_text(encoding="utf-8")
    fields = set(re.findall(r"\{(\w+)\}", prompt))
    assert "text" in fields
    assert fields <= messages()[0].keys()
    assert re.sub(r"\{\w+\}", "", prompt).count("{") == 0


@pytest.mark.parametrize("folder", [MESSAGES, INVOICES], ids=lambda folder: folder.name)
def test_the_schema_is_strict(folder: Path) -> None:
    schema = read_json(folder / "schema.json")
    assert check_schema(schema) is None
    assert schema["required"] == list(schema["properties"])
    assert schema["additionalProperties"] is False


def test_a_sorted_message_fits_the_schema_and_an_invented_category_does_not() -> None:
    check = jsonschema.Draft202012Validator(read_json(MESSAGES / "schema.json"))
    answer = {
        "category": "delivery",
        "urgency": "low",
        "language": "en",
        "sentiment": -0.2,
        "summary": "The parcel is late.",
        "order_number": None,
        "needs_human": False,
    }
    assert check.is_valid(answer)
    assert not check.is_valid({**answer, "category": "weather"})
    assert not check.is_valid({**answer, "sentiment": 2})


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (InputSpec(str(MESSAGES / "messages.csv"), prompt=(MESSAGES / "prompt.txt").read_text("utf-8")), 200),
        (InputSpec(str(INVOICES / "scans")), 12),
    ],
    ids=["messages", "invoices"],
)
def test_batchq_finds_nothing_wrong_with_any_item(spec: InputSpec, count: int) -> None:
    with read(spec) as reading:
        rows = list(reading)
    assert len(rows) == count
    for row in rows:
        assert isinstance(row, Item), row
        assert row.problem is None, row


def test_every_scan_is_labelled_and_every_label_has_its_scan() -> None:
    assert [file.name for file in SCANS] == sorted(read_json(INVOICES / "labels.json"))
    assert len(SCANS) == 12
    assert sum(file.stat().st_size for file in SCANS) < 2_000_000


@pytest.mark.parametrize("file", SCANS, ids=lambda file: file.name)
def test_a_scan_is_the_picture_that_its_suffix_says(file: Path) -> None:
    with Image.open(file) as image:
        assert image.format == FORMATS[file.suffix]
        image.load()
        assert min(image.size) > 700, "too small to be read"
        assert getattr(image, "n_frames", 1) == (2 if file.suffix == ".tiff" else 1)


@pytest.mark.parametrize("file", SCANS, ids=lambda file: file.name)
def test_a_label_fits_the_schema_and_adds_up(file: Path) -> None:
    label = read_json(INVOICES / "labels.json")[file.name]
    check = jsonschema.Draft202012Validator(
        read_json(INVOICES / "schema.json"), format_checker=jsonschema.FormatChecker(["date"])
    )
    check.validate(label)
    exact = json.loads(json.dumps(label), parse_float=Decimal)
    assert sum(line["amount"] for line in exact["line_items"]) == exact["subtotal"]
    assert exact["subtotal"] + exact["tax"] == exact["total"]
    assert label["due_date"] is None or label["due_date"] > label["date"]


def test_the_labels_are_those_of_the_drawings(redrawn: Path) -> None:
    assert read_json(redrawn / "labels.json") == read_json(INVOICES / "labels.json")


@pytest.mark.parametrize("file", SCANS, ids=lambda file: file.name)
def test_drawing_again_gives_the_same_picture(file: Path, redrawn: Path) -> None:
    with Image.open(file) as kept, Image.open(redrawn / "scans" / file.name) as drawn:
        assert kept.size == drawn.size
        for frame in range(getattr(kept, "n_frames", 1)):
            kept.seek(frame)
            drawn.seek(frame)
            differences = ImageChops.difference(kept.convert("L"), drawn.convert("L")).histogram()
            # Another processor may round the last bit otherwise; a digit that changed is dozens of dark pixels.
            assert sum(differences[64:]) <= 10, f"frame {frame}: run examples/invoices/draw.py"
