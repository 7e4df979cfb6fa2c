"""Texts go a hundred a request, and each keeps its own outcome: real workers, real google-genai, a local Gemini."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client
from batchq.core.lifecycle import ItemState, JobState
from batchq.core.limits import QuotaLimits
from batchq.emulator import Emulator, expected_embedding
from batchq.store.database import Database
from batchq.store.quotas import QuotaStore

MODELS = ("gemini-embedding-001", "gemini-embedding-2")
MODEL = MODELS[0]
OPTIONS = {"output_dimensionality": 8, "task_type": "CLUSTERING"}
BAD = "a bad one [[emulate:400]]"


def texts(n: int) -> list[dict[str, Any]]:
    return [{"id": f"t-{number}", "text": f"Text {number} of many"} for number in range(n)]


def submit(client: Client, rows: list[dict[str, Any]], **more: Any) -> Any:
    return client.submit(rows, operation="embed", options=OPTIONS, preflight=False, **more)


def assert_each_has_its_own(job: Any, n: int, model: str = MODEL) -> None:
    own = {result.id: result.data for result in job.results() if result.status is ItemState.SUCCEEDED}
    assert own == {row["id"]: expected_embedding(row["text"], model=model, dimensions=8) for row in texts(n)}


@pytest.mark.parametrize(
    ("pool", "slots", "model"),
    [("gevent", 20, MODELS[0]), ("prefork", 2, MODELS[1]), ("threads", 4, MODELS[1])],
)
def test_every_text_gets_its_own_vector_from_few_requests(
    fleet: Fleet, client: Client, gemini: Emulator, pool: str, slots: int, model: str
) -> None:
    fleet.start(pool, slots)
    job = submit(client, texts(250), model=model)
    record = job.wait(60)
    assert_each_has_its_own(job, 250, model)
    stats = gemini.stats()
    assert stats["requests"] == 3
    assert (record.requests, record.input_tokens) == (250, stats["input_tokens"]), "as the provider counts"
    assert sum(result.outcome.usage.input_tokens for result in job.results()) == stats["input_tokens"]


def test_a_bad_text_is_found_by_halving_and_fails_alone(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    fleet.start()
    job = submit(client, [*texts(60), {"id": "bad", "text": BAD}])
    record = job.wait(60)
    assert_each_has_its_own(job, 60)
    *good, bad = job.results()
    assert (bad.status, bad.error.status, bad.attempts) == (ItemState.FAILED, "INVALID_ARGUMENT", 1)
    assert {result.attempts for result in good} == {1}
    assert (record.retries, record.errors) == (0, {"INVALID_ARGUMENT": 1})
    assert gemini.stats()["requests"] <= 1 + 2 * 6, "two halves at each of six cuts"


def test_a_pack_that_is_not_answered_is_tried_again_by_message(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    gemini.configure(faults=("503",))
    fleet.start()
    job = submit(client, texts(80))
    eventually(lambda: job.status().retries == 80)
    gemini.configure(faults=())
    record = job.wait(60)
    assert_each_has_its_own(job, 80)
    assert record.requests == sum(result.attempts for result in job.results()) >= 160
    assert all(result.outcome.history[0].error.status == "UNAVAILABLE" for result in job.results())


def test_what_never_gets_an_answer_is_a_dead_letter_alone_and_can_be_redriven(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    fleet.start()
    job = submit(client, [*texts(40), {"id": "stuck", "text": "stuck [[emulate:500]]"}])
    record = job.wait(90)
    assert (record.succeeded, record.dead_letter) == (40, 1)
    (letter,) = client.dead_letters(job_id=job.id)
    assert (letter.id, letter.reason, letter.attempts) == ("stuck", "INTERNAL", 3)
    gemini.configure(directives=False)
    assert client.redrive(job_id=job.id) == 1
    assert job.wait(60).succeeded == 41


def test_a_killed_workers_pack_goes_on_with_another(fleet: Fleet, client: Client, gemini: Emulator) -> None:
    gemini.configure(faults=("hang",))
    first = fleet.start()
    job = submit(client, texts(150))
    eventually(lambda: gemini.stats()["in_flight"] == 2)
    os.killpg(first.pid, signal.SIGKILL)
    gemini.configure(faults=())
    fleet.start()
    record = job.wait(60)
    assert_each_has_its_own(job, 150)
    assert (record.repeated, record.requests) == (150, 300)
    assert {result.attempts for result in job.results()} == {2}


def test_a_cancelled_jobs_packs_are_not_sent(fleet: Fleet, client: Client, gemini: Emulator) -> None:
    gemini.configure(latency_s=1.0)
    fleet.start()
    job = submit(client, texts(3_000), concurrency=1)
    eventually(lambda: gemini.stats()["in_flight"] == 1)
    job.cancel()
    eventually(lambda: job.status().finished_at is not None)
    record = job.status()
    assert (record.state, record.processing, record.pending) == (JobState.CANCELLED, 0, 0)
    assert record.succeeded + record.cancelled == 3_000
    assert record.succeeded <= 200, "what was under way"
    assert gemini.stats()["requests"] <= 2


def test_a_pack_takes_as_many_requests_of_the_quota_as_it_has_texts(
    fleet: Fleet, client: Client, gemini: Emulator, database: Database
) -> None:
    gemini.configure(rpm=90)
    QuotaStore(database).set(f"model:test:{MODEL}", QuotaLimits(requests_per_minute=90))
    fleet.start()
    job = submit(client, texts(90))
    record = job.wait(60)
    assert_each_has_its_own(job, 90)
    stats = gemini.stats()
    assert (stats["requests"], stats["rate_limited"], record.rate_limited) == (1, 0, 0)
    assert QuotaStore(database).view(f"model:test:{MODEL}", live=True).used_requests == 90


def test_a_pack_is_no_larger_than_a_twentieth_of_a_minutes_tokens(
    fleet: Fleet, client: Client, gemini: Emulator, database: Database
) -> None:
    long = [{"id": str(number), "text": f"{number} " + "word " * 200} for number in range(20)]
    gemini.configure(tpm=60_000)
    QuotaStore(database).set(f"model:test:{MODEL}", QuotaLimits(tokens_per_minute=60_000))
    fleet.start()
    record = submit(client, long).wait(60)
    stats = gemini.stats()
    assert (record.succeeded, stats["rate_limited"]) == (20, 0)
    assert 2 <= stats["requests"] <= 5, "about ten texts of 250 tokens in 3,000"


def test_items_that_want_other_dimensions_go_apart(fleet: Fleet, client: Client, gemini: Emulator) -> None:
    rows = [{**row, "output_dimensionality": 8 + number % 2} for number, row in enumerate(texts(30))]
    rows = [{"id": row.pop("id"), "input": row} for row in rows]
    fleet.start()
    job = submit(client, rows)
    assert job.wait(60).succeeded == 30
    assert [len(result.data) for result in job.results()] == [8, 9] * 15
    assert gemini.stats()["requests"] == 2


def test_vertex_ai_gives_the_same(fleet: Fleet, client: Client, gemini: Emulator) -> None:
    del fleet.extra["GOOGLE_GEMINI_BASE_URL"]
    fleet.extra |= {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_CLOUD_PROJECT": "my-project",
        "GOOGLE_CLOUD_LOCATION": "europe-west4",
        "GOOGLE_VERTEX_BASE_URL": gemini.url,
    }
    fleet.start()
    jobs = {model: submit(client, texts(12), model=model) for model in MODELS}
    for model, job in jobs.items():
        assert job.wait(60).succeeded == 12
        assert_each_has_its_own(job, 12, model)
