"""Drawn pictures travel beside their answers and become files beside the results."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from fleet_kit import Fleet
from PIL import Image as Pillow

from batchq import Client
from batchq.core.lifecycle import ItemState
from batchq.core.pictures import put_aside
from batchq.core.records import Outcome, Result
from batchq.emulator import Emulator, expected_image
from batchq.formats import check_destination, write
from batchq.formats.writers.pictures import file_name

IDS = ("lamp", "Lamp", "../../etc/passwd", "a/b", "ein Bild für Ä", ".hidden", "x" * 300)


def test_prompts_become_picture_files_beside_the_results(
    fleet: Fleet, client: Client, gemini: Emulator, tmp_path: Path
) -> None:
    fleet.start()
    rows = [{"id": item_id, "prompt": f"Draw {item_id}"} for item_id in IDS]
    job = client.submit([*rows, {"id": "empty", "prompt": " "}], operation="image", preflight=False)
    record = job.wait(180)
    assert (record.succeeded, record.failed) == (len(IDS), 1), record.errors
    *results, _ = job.results()
    drawn = [expected_image(row["prompt"]) for row in rows]
    assert [result.images for result in results] == [[data] for data in drawn]
    assert results[0].outcome.usage.image_tokens == 1_290
    assert results[0].outcome.cost_usd == pytest.approx((1_290 * 30 + 3 * 0.30) / 1e6)
    assert len(json.dumps(results[0].response)) < 1_000, "the bytes lie beside the answer"

    out = tmp_path / "out" / "pictures.jsonl"
    write(job.results(), check_destination(str(out)))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    named = [line["response"]["candidates"][0]["content"]["parts"][0]["fileData"] for line in lines[:-1]]
    assert {one["mimeType"] for one in named} == {"image/png"}
    assert [(out.parent / one["fileUri"]).read_bytes() for one in named] == drawn
    assert all(Pillow.open(io.BytesIO(data)).size == (32, 32) for data in drawn)
    assert named[0]["fileUri"] == "pictures-images/lamp.png"
    folder = (out.parent / "pictures-images").resolve()
    assert {(out.parent / one["fileUri"]).resolve().parent for one in named} == {folder}
    assert sorted(out.parent.iterdir()) == [folder, out]
    assert len(list(folder.iterdir())) == len(IDS)

    table = tmp_path / "out" / "table.csv"
    write(job.results(), check_destination(str(table)))
    assert '"[""table-images/lamp.png""]"' in table.read_text()
    stream = io.BytesIO()
    write(job.results(), check_destination("-"), stream)
    first = json.loads(stream.getvalue().splitlines()[0])
    assert "inlineData" in first["response"]["candidates"][0]["content"]["parts"][0], "no place for files"
    client.delete(job.id)


def result_of(item_id: str, data: bytes) -> Result:
    import base64

    part = {"inlineData": {"mimeType": "image/jpeg", "data": base64.b64encode(data).decode()}}
    response, files = put_aside({"candidates": [{"content": {"parts": [{"text": "here"}, part, part]}}]})
    assert list(files) == [hashlib.sha256(data).hexdigest()]
    return Result(item_id, 0, "image", Outcome(ItemState.SUCCEEDED, response), files.__getitem__)


def test_results_that_break_off_leave_no_picture(tmp_path: Path) -> None:
    def broken() -> object:
        yield result_of("a", b"one")
        raise RuntimeError("away")

    out = tmp_path / "o.jsonl"
    with pytest.raises(RuntimeError):
        write(broken(), check_destination(str(out)))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    write([result_of("a", b"one"), result_of("b", b"two")], check_destination(str(out)))
    write([result_of("a", b"new")], check_destination(str(out)))
    folder = tmp_path / "o-images"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.jpg": b"new",
        "a.2.jpg": b"new",
        "b.jpg": b"two",
        "b.2.jpg": b"two",
    }


def test_names_of_files_are_safe_and_differ() -> None:
    names = [file_name(item_id, 0, "image/png") for item_id in IDS]
    assert len({name.lower() for name in names}) == len(IDS)
    assert all("/" not in name and not name.startswith(".") and len(name) < 120 for name in names)
