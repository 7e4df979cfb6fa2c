"""What jobs cost, on real workers: a limit is kept while calls are under way, and a higher one lets the job go on."""

from __future__ import annotations

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client, InputError
from batchq.core.lifecycle import JobState
from batchq.emulator import Emulator

COST = 1e-5  # of one of the questions below, about, with the emulator's answers


@pytest.fixture
def gemini(fleet: Fleet, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    with Emulator() as emulator:
        fleet.extra |= {"GOOGLE_GEMINI_BASE_URL": emulator.url, "GEMINI_API_KEY": "test-key"}
        for name, value in fleet.extra.items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.mark.fault
def test_a_job_pauses_before_its_cost_limit_and_goes_on_with_a_higher_one(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    fleet.start()
    limit = 25 * COST
    texts = [
        (f"q-{n}", f"Question {n}: what is {n} times 3, and how is that told in words?") for n in range(40)
    ]
    asked = client.submit(texts, options={"max_output_tokens": 64}, max_cost=limit)
    packed = client.submit(texts, operation="embed", max_cost=3e-5)
    eventually(lambda: {asked.status().state, packed.status().state} == {JobState.PAUSED}, 60)
    for job, most in ((asked, limit), (packed, 3e-5)):
        eventually(lambda job=job: job.status().processing == 0, 30)
        record = job.status()
        assert 0.7 * most < (record.cost_usd or 0) <= most
        assert record.max_cost == pytest.approx(most)
        assert 0 < record.succeeded < 40
        assert record.reason is not None
        assert record.reason.startswith("the cost limit of $")
        assert record.requests == record.succeeded
        job.resume(max_cost=1)
        assert job.wait(60).succeeded == 40
        assert (job.status().repeated, job.status().retries) == (0, 0)


@pytest.mark.fault
def test_a_plan_of_a_kind_of_job_that_ran_before_is_near_what_it_comes_to(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    fleet.start()
    texts = [
        (f"q-{n}", f"Question {n}: what is {n} times 3, and how is that told in words?") for n in range(40)
    ]
    client.submit(texts).wait(60)
    planned = client.plan(texts)
    record = client.submit(texts).wait(60)
    assert (planned.requests, planned.output_from_jobs) == (record.requests, 1)
    assert planned.input_tokens == pytest.approx(record.input_tokens, rel=0.5)
    assert planned.output_tokens == pytest.approx(record.output_tokens, rel=0.05)
    assert planned.cost_usd == pytest.approx(record.cost_usd, rel=0.2)


def test_a_limit_needs_a_price_for_every_call(client: Client) -> None:
    with pytest.raises(InputError, match=r'no price is known for house-model.*\[prices\."house-model"\]'):
        client.submit(["a"], model="house-model", max_cost=1, preflight=False)
    with pytest.raises(InputError, match="max_cost cannot bound operation work"):
        client.submit(["a"], operation="work", max_cost=1)
    with pytest.raises(InputError, match="above 0"):
        client.submit(["a"], max_cost=0)
    assert list(client.list()) == []
