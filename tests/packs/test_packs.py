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
    [("gevent", 20, MODELS[0]), ("prefork", 2, MODELS[1])],
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
    gemini.configure(faults=("503",), latency_s=0.5)
    fleet.start()
    job = submit(client, texts(80))
    seen = [job.status()]
    eventually(lambda: seen.append(job.status()) or seen[-1].retries)  # type: ignore[func-returns-value]
    gemini.configure(faults=(), latency_s=0)
    assert (seen[-1].retries, seen[-1].processing) == (80, 80), "none went back to the store"
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
    gemini.configure(latency_s=2.0)
    fleet.start()
    job = submit(client, texts(3_000), concurrency=1)
    eventually(lambda: gemini.stats()["in_flight"] == 1)
    job.cancel()
    eventually(lambda: job.status().finished_at is not None)
    record = job.status()
    assert (record.state, record.processing, record.pending) == (JobState.CANCELLED, 0, 0)
    assert (record.succeeded, record.cancelled) == (100, 2_900), "what was under way, and what waited"
    assert gemini.stats()["requests"] == 1


def test_packs_are_cut_as_quotas_and_items_ask(
    fleet: Fleet, client: Client, gemini: Emulator, database: Database
) -> None:
    first, other = (f"model:test:{model}" for model in MODELS)
    quotas = QuotaStore(database)
    quotas.set(first, QuotaLimits(requests_per_minute=90))
    quotas.set(other, QuotaLimits(tokens_per_minute=60_000))
    fleet.start()

    def requests_of(rows: list[dict[str, Any]], model: str) -> int:
        before = gemini.stats()["requests"]
        job = submit(client, rows, model=model)
        assert job.wait(60).succeeded == len(rows)
        return int(gemini.stats()["requests"]) - before

    gemini.configure(rpm=90)
    assert requests_of(texts(90), MODELS[0]) == 1
    assert quotas.view(first, live=True).used_requests == 90, "each text is a request"

    gemini.configure(rpm=None, tpm=60_000)
    long = [{"id": str(number), "text": f"{number} " + "word " * 200} for number in range(20)]
    assert 2 <= requests_of(long, MODELS[1]) <= 5, "about ten texts of 250 tokens in 3,000, a twentieth"

    sized = [
        {"id": row["id"], "input": {"text": row["text"], "output_dimensionality": 8 + number % 2}}
        for number, row in enumerate(texts(30))
    ]
    assert requests_of(sized, MODELS[1]) == 2, "items that want other dimensions go apart"
    assert gemini.stats()["rate_limited"] == 0


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
