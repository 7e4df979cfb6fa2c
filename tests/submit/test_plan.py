"""A plan tells what a submission would be, and leaves nothing in the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from batchq import Client, InputError
from batchq.embedded import EmbeddedServer
from batchq.flow.plan import GUESSED_OUTPUT
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.store.fleet import Beat
from batchq.wiring import Place

PROMPTS = [(f"q-{n}", "What is a lease, in one sentence?") for n in range(90)]


@pytest.fixture
def settings(server: EmbeddedServer) -> Settings:
    return Settings(
        redis_url=server.url,
        quotas={
            "gemini-2.5-flash-lite": {"requests_per_minute": 30, "tokens_per_minute": 100_000},
            "gemini-embedding-001": {"requests_per_minute": 3_000, "requests_per_day": 50},
        },
        prices={"house": {"input": 1, "output": 2}},
    )


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[Client]:
    with Client(place=Place(settings, embedded=True)) as client:
        yield client


def test_a_plan_tells_requests_tokens_cost_and_the_time_by_the_quota_that_binds(
    client: Client, database: Database
) -> None:
    planned = client.plan([*PROMPTS, ("bad", "")], max_cost=0.001)
    assert (planned.items, planned.bad, planned.requests, planned.calls) == (91, 1, 90, 90)
    assert [problem.problem for problem in planned.problems]
    assert planned.models == ("gemini-2.5-flash-lite",)
    assert (planned.output_tokens, planned.output_from_jobs) == (90 * GUESSED_OUTPUT, 0)
    assert 90 * 8 < planned.input_tokens < 90 * 30
    expected = (planned.input_tokens * 0.10 + planned.output_tokens * 0.40) / 1_000_000
    assert planned.cost_usd == pytest.approx(expected)
    assert (planned.time_s, planned.quota) == (180, "gemini-2.5-flash-lite")
    assert planned.quota_limit == "30 requests a minute"
    assert database.command("KEYS", "*") == []


def test_a_jobs_own_limit_binds_where_it_is_tighter_and_answers_are_no_longer_than_it_lets_them(
    client: Client,
) -> None:
    planned = client.plan(PROMPTS, rpm=10, options={"max_output_tokens": 20})
    assert (planned.time_s, planned.quota, planned.output_tokens) == (540, "the job's own", 90 * 20)


def test_texts_in_packs_are_fewer_calls_and_a_days_quota_tells_in_days(client: Client) -> None:
    planned = client.plan(PROMPTS, operation="embed", model="gemini-embedding-001")
    assert planned.requests == 90
    assert planned.calls < 10
    assert planned.output_tokens == 0
    assert (planned.time_s, planned.quota_limit) == (86_400, "50 requests a day")


def test_a_model_of_the_users_own_has_the_price_of_the_settings_and_one_without_has_no_cost(
    client: Client,
) -> None:
    own, unknown = client.plan(PROMPTS, model="house"), client.plan(PROMPTS, model="unheard-of")
    assert own.cost_usd == pytest.approx((own.input_tokens + 2 * own.output_tokens) / 1_000_000)
    assert (unknown.cost_usd, unknown.time_s) == (None, None)
    assert unknown.to_json()["cost_usd"] is None


def test_a_list_that_would_be_refused_is_refused(client: Client) -> None:
    with pytest.raises(InputError, match="stands already"):
        client.plan([("a", "one"), ("a", "two")])
    with pytest.raises(TypeError, match="there is no option 'modle'"):
        client.plan(PROMPTS, modle="x")  # type: ignore[call-arg]


def test_the_end_of_a_job_is_told_at_once_where_only_tokens_are_limited(client: Client) -> None:
    worker = Beat("w", "here", 1, 5, ("control", "generate"), "gevent", "1", "p")
    client.walk.fleet.beat(worker, 4_000, 15_000)  # no end is promised where nobody does the work
    job = client.submit([(f"q{n}", "word " * 400) for n in range(60)], operation="generate", tpm=6_000)
    eta = job.status().eta
    assert eta is not None
    assert 240 < eta < 400, "60 times some 500 tokens at 6,000 a minute"
