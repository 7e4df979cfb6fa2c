"""What is fleet-wide about quotas, with real workers and the local Gemini API counting for itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client, Item, wiring
from batchq.core.lifecycle import JobState
from batchq.emulator import Emulator, EmulatorOptions

MODEL = "gemini-2.5-flash-lite"
OTHER = "gemini-2.5-flash"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(EmulatorOptions(directives=True)) as emulator:
        yield emulator


@pytest.fixture
def gemini(fleet: Fleet, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    fleet.extra |= {
        "GOOGLE_GEMINI_BASE_URL": emulator.url,
        "GEMINI_API_KEY": "test-key",
        "BATCHQ_PROJECT": "p",
    }
    for name, value in fleet.extra.items():
        monkeypatch.setenv(name, value)
    wiring.provider.cache_clear()
    return emulator


def prompts(n: int) -> list[tuple[str, str]]:
    return [(f"q-{number}", f"Question {number}: what is {number} times 3?") for number in range(n)]


def test_a_fleet_keeps_its_pace_and_is_never_refused(fleet: Fleet, client: Client, gemini: Emulator) -> None:
    gemini.configure(rpm=1_200)
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"requests_per_minute": 1_200}})
    fleet.start("gevent", 20)
    fleet.start("threads", 5)
    fleet.start("prefork", 2)
    eventually(lambda: len(client.fleet()) == 4)
    job = client.submit(prompts(60))
    record = job.wait(60)
    times = gemini.admissions()
    assert (record.succeeded, record.rate_limited) == (60, 0)
    assert max(sum(1 for at in times if first <= at < first + 1) for first in times) <= 32, "no bursts"
    assert times[-1] - times[0] < 8, "20 a second"
    view = client.quotas.get(MODEL)
    assert (view.name, view.workers, view.used_requests) == (f"model:p:{MODEL}", 3, 60)


def test_a_refusal_that_an_item_cannot_wait_for_holds_the_fleet_all_the_same(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    fleet.extra["BATCHQ_OPERATIONS__GENERATE__MAX_RATE_LIMIT_WAIT_S"] = "5"
    gemini.configure(faults=("429:retry=600",))
    fleet.start("gevent", 4)
    job = client.submit(prompts(100))
    eventually(lambda: job.status().dead_letter > 0)
    eventually(lambda: job.status().processing == 0)
    refused = gemini.stats()["requests"]
    assert refused <= 2 * 4, "those that were under way, not all of the job"
    assert client.quotas.get(MODEL).held_ms > 500_000
    gemini.configure(faults=())
    client.quotas.resume(MODEL)
    record = job.wait(60)
    assert (record.succeeded, record.dead_letter) == (100 - refused, refused)
    assert record.errors == {"RATE_LIMITED": refused}


def test_the_day_being_used_up_shows_as_paused_until_the_reset_and_goes_on_by_itself(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    gemini.configure(rpd=10)
    fleet.start("gevent", 10)
    job = client.submit(prompts(25))
    eventually(lambda: job.status().state is JobState.PAUSED)
    record = job.status()
    assert record.reason is not None
    assert "the day's requests are used up, until" in record.reason
    assert record.resumes_at is not None
    assert record.eta is not None
    assert record.eta >= record.resumes_at - record.now + 86_000, "10 more then, and the last 5 a day later"
    assert client.quotas.get(MODEL).learnt.requests_per_day == 10
    refused = gemini.stats()["rate_limited"]
    gemini.configure(rpd=1_000)
    gemini.new_day()
    client.quotas.set(MODEL, requests_per_day=1_000)
    client.quotas.resume(MODEL)
    record = job.wait(60)
    assert record.succeeded == 25
    assert gemini.stats()["rate_limited"] == refused <= 25, "while it was held nobody asked"


def test_a_pause_by_hand_reaches_every_worker_and_only_that_quota(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    gemini.configure(latency_s=0.05)
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"requests_per_minute": 600}})
    fleet.start("gevent", 10)
    fleet.start("threads", 5)
    eventually(lambda: len(client.fleet()) == 2)
    job = client.submit(prompts(100), model=MODEL)
    eventually(lambda: job.status().settled > 5)
    client.quotas.pause(MODEL)
    paused_s = gemini.stats()["uptime_s"]
    other = client.submit(prompts(20), model=OTHER)
    assert other.wait(30).succeeded == 20
    eventually(lambda: job.status().state is JobState.PAUSED)
    eventually(lambda: gemini.stats()["uptime_s"] > paused_s + 3)
    ours = [call["at_s"] for call in gemini.calls() if call["model"] == MODEL]
    assert max(ours) < paused_s + 2, "within two seconds, on both workers"
    record = job.status()
    assert (record.resumes_at, "batchq quotas resume" in (record.reason or "")) == (None, True)
    client.quotas.set(MODEL, requests_per_minute=60_000)
    client.quotas.resume(MODEL)
    assert job.wait(60).succeeded == 100


def test_a_limit_is_adopted_from_the_first_refusals(fleet: Fleet, client: Client, gemini: Emulator) -> None:
    gemini.configure(rpm=30)
    fleet.start("gevent", 10)
    job = client.submit(prompts(200))
    eventually(lambda: client.quotas.show() and client.quotas.get(MODEL).limits.requests_per_minute == 30)
    assert job.status().rate_limited <= 25
    job.cancel()


@pytest.mark.scale
def test_the_end_is_foreseen_from_the_real_rate_while_the_limit_is_being_found_out(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    gemini.configure(latency_s=0.5)
    fleet.start("gevent", 5)
    eventually(lambda: len(client.fleet()) == 1)
    job = client.submit(prompts(1_000))
    first = job.status()
    assert (first.eta, first.reason) == (None, f"the quota of {MODEL} is being found out")
    eventually(lambda: job.status().eta is not None)
    record = job.status()
    assert record.eta is not None
    assert record.reason is None
    assert record.eta >= (record.pending + record.processing) / 10 * 0.8, "5 slots give ten a second at most"
    job.cancel()


@pytest.mark.scale
def test_a_limit_lowered_in_the_run_shows_what_is_waited_for_until_the_window_has_room(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"requests_per_minute": 6_000}})
    fleet.start("gevent", 50)
    eventually(lambda: len(client.fleet()) == 1)
    job = client.submit(prompts(3_000))
    eventually(lambda: job.status().settled > 200)
    client.quotas.set(MODEL, requests_per_minute=60)
    eventually(lambda: "waits for room in the window of" in (client.status(job.id).reason or ""))
    noted = client.walk.jobs.record  # what the sweeper left, for lists and Flower
    eventually(lambda: f"waits for room in the window of {MODEL}: about " in (noted(job.id).reason or ""))
    record = client.status(job.id)
    assert (record.state, record.waits_for) == (JobState.PROCESSING, f"model:p:{MODEL}")
    assert record.eta is not None
    assert record.eta >= record.pending + record.processing + 30, "one a second, once there is room"
    job.cancel()


def test_items_wait_for_tokens_and_one_too_large_fails_before_it_is_sent(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    gemini.configure(tpm=600_000)
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"tokens_per_minute": 600_000}})
    fleet.start("gevent", 10)
    long = "word " * 4_000
    rows = [*((f"i{n}", f"{n} {long}") for n in range(8)), ("huge", "word " * 600_000)]
    job = client.submit(rows)
    record = job.wait(90)
    assert (record.succeeded, record.failed, record.rate_limited) == (8, 1, 0), record.errors
    (letter,) = client.dead_letters(job.id)
    assert (letter.id, letter.reason) == ("huge", "TOO_LARGE")
    assert "600,000 a minute" in letter.error.message
    assert gemini.stats()["requests"] == 8


def test_a_provider_that_is_away_costs_items_no_attempts(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    gemini.configure(faults=["503"])
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"requests_per_minute": 60_000}})
    # three of the 20 failures that open the breaker would have to meet one item of those 30 that are under way
    fleet.extra["BATCHQ_OPERATIONS"] = json.dumps({"generate": {"max_attempts": 3}})
    fleet.start("gevent", 20)
    fleet.start("threads", 10)
    eventually(lambda: len(client.fleet()) == 2)
    job = client.submit(prompts(200), preflight=False)
    eventually(lambda: client.quotas.show() and client.quotas.get(MODEL).why == "outage")
    asked = gemini.stats()["requests"]
    assert asked <= 20 + 30, "what opens the breaker, and what was under way"
    eventually(lambda: gemini.stats()["requests"] > asked)
    assert job.status().dead_letter == 0
    gemini.configure(faults=[])
    record = job.wait(60)
    assert record.succeeded == 200, record.errors
    assert record.requests <= 200 + 20 + 30 + 5, "the probes were few"


@pytest.mark.scale
def test_jobs_on_one_quota_progress_by_their_weight(fleet: Fleet, client: Client, gemini: Emulator) -> None:
    gemini.configure(latency_s=0.2)
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"requests_per_minute": 3_000}})
    fleet.start("gevent", 100)
    eventually(lambda: len(client.fleet()) == 1)
    light = client.submit(prompts(2_000), priority=5)
    heavy = client.submit(prompts(1_000), priority=10)
    eventually(lambda: heavy.status().settled > 200)  # who comes first has the whole window for a while
    first = light.status().settled, heavy.status().settled
    eventually(lambda: heavy.status().settled > first[1] + 250)
    done = light.status().settled - first[0], heavy.status().settled - first[1]
    assert 1.5 <= done[1] / done[0] <= 2.7, done
    for job in (light, heavy):
        assert job.status().eta is not None
        job.cancel()


@pytest.mark.scale
def test_what_a_job_with_a_limit_of_its_own_cannot_use_is_the_others(
    fleet: Fleet, client: Client, gemini: Emulator
) -> None:
    gemini.configure(latency_s=1.0)
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"requests_per_minute": 900}})
    fleet.start("gevent", 30)
    eventually(lambda: len(client.fleet()) == 1)
    limited = client.submit(prompts(1_000), priority=10, rpm=90)
    free = client.submit(prompts(3_000), priority=1)
    eventually(lambda: free.status().settled > 100, within_s=60)
    first = free.status().settled, limited.status().settled
    eventually(lambda: free.status().settled > first[0] + 250, within_s=90)
    done = free.status().settled - first[0], limited.status().settled - first[1]
    assert done[0] >= 4 * done[1], "810 to 90, had they a machine to themselves; 2 to 1 by the window of each"
    for job in (limited, free):
        job.cancel()


@pytest.mark.parametrize("others", [3_000, pytest.param(100_000, marks=pytest.mark.scale)])
def test_a_small_job_beside_a_huge_one_gets_its_half(
    fleet: Fleet, client: Client, gemini: Emulator, others: int
) -> None:
    """Within 1.3 times its time at half the quota and 5 s more; in calls, so that a slow machine proves the same."""
    gemini.configure(latency_s=0.2)
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps({MODEL: {"requests_per_minute": 3_000}})
    fleet.start("gevent", 100)
    eventually(lambda: len(client.fleet()) == 1)
    huge = client.submit(prompts(others))
    eventually(lambda: huge.status().settled > 50)
    before = gemini.stats()["requests"]
    small = client.submit(prompts(100), preflight=False)
    assert small.wait(60).succeeded == 100
    assert gemini.stats()["requests"] - before <= (1.3 * 100 / 25 + 5) * 50
    huge.cancel()


def test_a_mixed_job_keeps_both_of_its_quotas_busy_and_the_slow_one_holds_up_nobody(
    fleet: Fleet, client: Client, gemini: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHQ_OPERATIONS", json.dumps({"extract": {"model": OTHER}}))
    limits = {MODEL: {"requests_per_minute": 1_200}, OTHER: {"requests_per_minute": 240}}
    fleet.extra["BATCHQ_QUOTAS"] = json.dumps(limits)
    fleet.start("gevent", 40)
    eventually(lambda: len(client.fleet()) == 1)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    slow = [Item(f"x{n}", {"text": f"Number {n}"}, operation="extract") for n in range(60)]
    quick = [Item(f"g{n}", {"prompt": f"Say {n}"}) for n in range(200)]
    with Client(redis_url=fleet.url) as ours:  # which decides the models
        job = client.get(ours.submit([*slow, *quick], schema=schema).id)  # the slow ones first
    eventually(lambda: job.status().settled >= 100)
    ended = Counter(result.id[0] for result in job.results())
    assert 4 <= ended["g"] / ended["x"] <= 7, "1,200 to 240, each as fast as its own quota"
    job.cancel()
