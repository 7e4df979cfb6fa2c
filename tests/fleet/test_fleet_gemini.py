"""Real google-genai calls from real workers, answered by the local Gemini API, each answer checked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client, Item
from batchq.core.lifecycle import ItemState, JobState
from batchq.emulator import Emulator, EmulatorOptions, expected_text
from batchq.formats import InputSpec, read

DATA = os.environ.get("BATCHQ_TEST_DATA")
EXAMPLES = Path(__file__).parents[2] / "examples"
SCHEMA = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "score": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["topic", "score"],
    "additionalProperties": False,
}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(EmulatorOptions(directives=True)) as emulator:
        yield emulator


@pytest.fixture
def gemini(fleet: Fleet, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    fleet.extra |= {"GOOGLE_GEMINI_BASE_URL": emulator.url, "GEMINI_API_KEY": "test-key"}
    for name, value in fleet.extra.items():
        monkeypatch.setenv(name, value)
    return emulator


def prompts(n: int) -> list[tuple[str, str]]:
    return [(f"q-{number}", f"Question {number}: what is {number} times 3?") for number in range(n)]


@pytest.mark.parametrize(("pool", "slots"), [("gevent", 40), ("threads", 6), ("prefork", 2)])
def test_every_answer_belongs_to_its_prompt(
    fleet: Fleet, client: Client, gemini: Emulator, pool: str, slots: int
) -> None:
    fleet.start(pool, slots)
    asked = prompts(120)
    job = client.submit(asked)
    record = job.wait(90)
    results = list(job.results())
    assert [(result.id, result.text) for result in results] == [
        (id, expected_text(prompt)) for id, prompt in asked
    ]
    assert gemini.stats()["answered"] == 120
    assert (record.requests, record.rate_limited, record.retries) == (120, 0, 0)
    assert record.input_tokens > 0
    assert record.cost_usd == pytest.approx(sum(result.outcome.cost_usd or 0 for result in results), rel=1e-6)
    assert record.latency_ms["p50"] <= record.latency_ms["p95"] <= record.latency_ms["max"]


def test_answers_fit_the_schema_and_one_that_never_does_fails(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    fleet.start()
    rows = [
        *prompts(20),
        ("once", "Once [[emulate:schema first=1]]"),
        ("never", "Never [[emulate:schema]]"),
    ]
    job = client.submit(rows, schema=SCHEMA)
    record = job.wait(60)
    results = {result.id: result for result in job.results()}
    assert (record.succeeded, record.failed, record.errors) == (21, 1, {"SCHEMA_MISMATCH": 1})
    assert all(set(result.data) == {"topic", "score"} for result in results.values() if result.error is None)
    assert (results["once"].attempts, results["never"].attempts) == (2, 2)
    outcomes = [results[name].outcome for name in ("once", "never")]
    paid = sum(outcome.usage.input_tokens + outcome.usage.output_tokens for outcome in outcomes)
    answered = results["once"].response
    assert answered is not None
    in_vain = paid - answered["usageMetadata"]["totalTokenCount"]  # one answer of four was good
    assert record.wasted_tokens == in_vain > 0
    assert record.cost_usd == pytest.approx(
        sum(result.outcome.cost_usd or 0 for result in results.values()), rel=1e-6
    )
    assert 0 < record.wasted_usd < record.cost_usd


def test_vertex_ai_answers_the_same(
    fleet: Fleet, client: Client, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.extra |= {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_CLOUD_PROJECT": "my-project",
        "GOOGLE_CLOUD_LOCATION": "europe-west4",
        "GOOGLE_VERTEX_BASE_URL": emulator.url,
    }
    for name, value in fleet.extra.items():
        monkeypatch.setenv(name, value)
    fleet.start()
    job = client.submit(prompts(10))
    assert job.wait(60).succeeded == 10
    assert [result.text for result in job.results()] == [expected_text(prompt) for _, prompt in prompts(10)]
    assert client.fleet()[0].project == "my-project"
    assert emulator.stats()["answered"] == 10


def test_a_bad_key_pauses_the_job_with_the_reason_and_settles_nothing(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    gemini.configure(bad_keys=["test-key"])
    fleet.start("gevent", 5)
    job = client.submit(prompts(20), preflight=False)
    eventually(lambda: job.status().state is JobState.PAUSED)
    assert "GEMINI_API_KEY" in (job.status().reason or "")
    eventually(lambda: job.status().processing == 0)
    assert job.status().settled == 0
    gemini.configure(bad_keys=[])
    job.resume()
    assert job.wait(60).succeeded == 20


def test_invoices_are_read_from_stored_bytes_a_tiff_page_by_page(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    fleet.start()
    schema = json.loads((EXAMPLES / "invoices/schema.json").read_text())
    scans = list(read(InputSpec(str(EXAMPLES / "invoices/scans"))))
    job = client.submit(scans, operation="extract", schema=schema)
    record = job.wait(60)
    assert (record.succeeded, record.total) == (12, 12), record.errors
    assert all(isinstance(result.data, dict) for result in job.results())
    tokens = {result.id: result.outcome.usage.input_tokens for result in job.results()}
    tiff = next(id for id in tokens if id.endswith((".tif", ".tiff")))
    assert tokens[tiff] == max(tokens.values()), "two pages, two images"


def test_a_file_that_changed_since_submit_fails_by_name(
    fleet: Fleet, client: Client, gemini: Emulator, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    fleet.extra["BATCHQ_FILE_ROOTS"] = str(folder)
    job = client.submit(list(read(InputSpec(str(folder)))), files="path")
    (folder / "b.txt").write_text("TWO")
    fleet.start()
    job.wait(30)
    first, second = job.results()
    assert first.status is ItemState.SUCCEEDED
    assert second.error is not None
    assert (second.error.status, "b.txt" in second.error.message) == ("FILE_CHANGED", True)


@pytest.mark.skipif(not DATA, reason="BATCHQ_TEST_DATA is not set")
@pytest.mark.parametrize("count", [300, pytest.param(2_000, marks=pytest.mark.scale)])
def test_real_questions_each_get_their_own_answer(
    count: int, fleet: Fleet, client: Client, gemini: Emulator, tmp_path: Path
) -> None:
    fleet.start("gevent", 100)
    lines = Path(f"{DATA}/gsm8k/train_0000-1999.jsonl").read_text().splitlines()[:count]
    asked = [json.loads(line)["question"] for line in lines]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    job = client.submit(read(InputSpec(str(tmp_path / "questions.jsonl"), prompt="{question}")))
    record = job.wait(110)
    assert record.succeeded == count
    assert [result.text for result in job.results()] == [expected_text(question) for question in asked]


@pytest.mark.skipif(not DATA, reason="BATCHQ_TEST_DATA is not set")
def test_real_receipts_come_back_with_their_own_fields(
    fleet: Fleet, client: Client, gemini: Emulator, tmp_path: Path
) -> None:
    folder = Path(f"{DATA}/receipts-sroie")
    labels = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    answers = tmp_path / "answers.jsonl"
    rows = []
    for label in labels:
        digest = hashlib.sha256((folder / label["image"]).read_bytes()).hexdigest()
        rows.append(json.dumps({"match": digest, "answer": label["label"]}))
    answers.write_text("\n".join(rows))
    gemini.configure(answers=str(answers))
    fields = {name: {"type": "string"} for name in ("company", "date", "address", "total")}
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    fleet.start()
    job = client.submit(read(InputSpec(str(folder), glob="*.jpg")), operation="extract", schema=schema)
    record = job.wait(60)
    assert record.succeeded == len(labels), record.errors
    assert {result.id: result.data for result in job.results()} == {
        one["image"]: one["label"] for one in labels
    }


def test_items_of_several_operations_share_a_job(fleet: Fleet, client: Client, gemini: Emulator) -> None:
    fleet.start()
    rows = [
        Item("a", {"prompt": "hello"}),
        Item("b", {"n": 5}, operation="work"),
        Item("c", {"prompt": "bye"}),
        Item("d", {"n": 6}, operation="work"),
    ]
    job = client.submit(rows)
    record = job.wait(60)
    results = list(job.results())
    assert record.succeeded == 4
    assert [result.id for result in results] == ["a", "b", "c", "d"], "in input order, across the lanes"
    assert [result.text or result.data for result in results] == [
        expected_text("hello"),
        {"answer": 5},
        expected_text("bye"),
        {"answer": 6},
    ]
