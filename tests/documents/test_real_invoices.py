"""Real invoices through the whole walk, answered from their labels: every field of every one is compared."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from fleet_kit import Fleet

from batchq import Client
from batchq.emulator import Emulator
from batchq.formats import InputSpec, check_destination, read, write

DATA = os.environ.get("BATCHQ_TEST_DATA")
SUFFIXES = (".pdf", ".png", ".txt")
KINDS = {str: "string", float: "number", int: "integer", list: "array"}


def schema_of(labels: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What all of the labels fit, each field with its own type; those that only some have are optional."""
    fields: dict[str, set[str]] = {}
    for label in labels.values():
        for name, value in label.items():
            fields.setdefault(name, set()).add(KINDS[type(value)])
    kinds = {name: {"type": sorted(found)} for name, found in fields.items()}
    return {"type": "object", "properties": kinds, "required": ["issuer", "amount"]}


@pytest.mark.skipif(not DATA, reason="BATCHQ_TEST_DATA is not set")
def test_every_field_of_real_invoices_comes_back_as_it_is_labelled(
    fleet: Fleet, client: Client, gemini: Emulator, tmp_path: Path
) -> None:
    folder = Path(f"{DATA}/invoices-invoice2data")
    labels: dict[str, dict[str, Any]] = {}
    answers = []
    for path in sorted(folder.iterdir()):
        label = path.with_suffix(".json")
        if path.suffix not in SUFFIXES or not label.exists():
            continue
        [labels[path.name]] = json.loads(label.read_text())
        match = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.suffix == ".txt":  # sent as text
            match = path.read_text()[:200]
        answers.append(json.dumps({"match": match, "answer": labels[path.name]}))
    assert {Path(name).suffix for name in labels} == set(SUFFIXES)
    (tmp_path / "answers").write_text("\n".join(answers))
    gemini.configure(answers=str(tmp_path / "answers"))
    schema = schema_of(labels)
    fleet.start()
    job = client.submit(
        (item for item in read(InputSpec(str(folder))) if getattr(item, "id", None) in labels),
        operation="extract",
        schema=schema,
        preflight=False,
    )
    record = job.wait(180)
    assert record.succeeded == len(labels), record.errors
    assert {result.id: result.data for result in job.results()} == labels

    out = tmp_path / "out.csv"
    write(job.results(), check_destination(str(out)), schema=schema)
    with out.open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    for name, label in labels.items():
        assert float(rows[name]["data_amount"]) == label["amount"]
        assert rows[name]["data_issuer"] == label["issuer"]
