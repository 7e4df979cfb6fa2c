"""A provider that refuses, fails, hangs, talks nonsense or is not there."""

from __future__ import annotations

import time

import pytest

from batchq.core.lifecycle import ItemState, JobState
from batchq.emulator import Emulator
from faults.kit import MODEL, SHORT_AND_LONG, Scene, until

STORM_S = 3.0


def pass_time(emulator: Emulator, seconds: float) -> None:
    began = emulator.stats()["uptime_s"]
    until(lambda: emulator.stats()["uptime_s"] > began + seconds)


@pytest.mark.parametrize(
    ("pool", "n", "fault", "variant"),
    [
        pytest.param("gevent", 60, "429:retry=0.5", "with RetryInfo", id="gevent-60-retry-info"),
        *[
            pytest.param(pool, 300, fault, variant, marks=pytest.mark.fault, id=f"{pool}-300-{variant}")
            for pool in ("gevent", "prefork")
            for fault, variant in [
                ("429:retry=0.5", "with RetryInfo"),
                ("429-no-retry", "without RetryInfo"),
                ("capacity", "of capacity, without details"),
            ]
        ],
    ],
)
def test_a_storm_of_429(scene: Scene, pool: str, n: int, fault: str, variant: str) -> None:
    emulator = scene.use_gemini()
    scene.fleet.extra["BATCHQ_OPERATIONS__GENERATE__MAX_ATTEMPTS"] = "1"
    scene.start(pool, slots=10 if pool == "gevent" else 2)
    scene.start(pool, slots=10 if pool == "gevent" else 2)
    scene.until_alive(2)
    emulator.configure(faults=(fault,))
    job = scene.ask(n)
    until(lambda: emulator.stats()["faults"] > 0)
    pass_time(emulator, STORM_S)
    emulator.configure(faults=())
    scene.check(job, "F27", f"a storm of 429 {variant}", extra_calls=0)
    record = job.status()
    assert (record.retries, record.requests) == (0, n + record.rate_limited)
    assert record.rate_limited > 0
    refused = emulator.stats()["requests"] - n
    assert refused <= 3 * 40, "both workers stop after the first refusals, window by window"


@pytest.mark.fault
def test_a_429_that_asks_for_ten_minutes(scene: Scene, pool: str) -> None:
    """The quota is held for as long, nothing waits in a worker, and a person may lift the hold."""
    emulator = scene.use_gemini()
    scene.start(pool)
    scene.until_alive(1)
    emulator.configure(faults=("429:retry=600",))
    job = scene.ask(300)
    until(lambda: emulator.stats()["faults"] > 0)
    until(lambda: scene.leased(job) == 0)
    asked = emulator.stats()["requests"]
    assert asked <= 2 * 2 * scene.slots
    held = scene.client.quotas.get(MODEL)
    assert held.held_ms > 500_000
    emulator.configure(faults=())
    pass_time(emulator, 2)
    assert emulator.stats()["requests"] == asked, "nothing goes out meanwhile"
    scene.client.quotas.resume(MODEL)
    scene.check(job, "F27", "a 429 that asks for ten minutes, lifted by hand", extra_calls=0)


@pytest.mark.fault
def test_one_call_in_ten_fails(scene: Scene, pool: str) -> None:
    emulator = scene.use_gemini(seed=scene.seed)
    emulator.configure(faults=("503:0.1",))
    scene.start(pool)
    scene.until_alive(1)
    job = scene.ask(300)
    scene.check(job, "F28", "one call in ten fails with 503", extra_calls=0)
    record = job.status()
    assert record.retries == emulator.stats()["faults"] > 0


@pytest.mark.fault
def test_a_storm_of_503(scene: Scene, pool: str) -> None:
    """Nobody is charged for more than what opens the breaker; prefork makes two calls at once here."""
    emulator = scene.use_gemini()
    scene.start(pool)
    scene.until_alive(1)
    job = scene.ask(300)
    scene.until_calls(scene.moment(300))
    emulator.configure(faults=("503",))
    until(lambda: emulator.stats()["faults"] > 0)
    pass_time(emulator, 2 * STORM_S)
    emulator.configure(faults=())
    scene.check(job, "F28", "a storm of 503", extra_calls=0)
    assert emulator.stats()["faults"] <= 20 + 2 * scene.slots + 10, "the probes were few"


@pytest.mark.fault
def test_a_provider_that_goes_away_and_comes_back(scene: Scene, pool: str) -> None:
    """Connections are refused for a while; items keep their attempts."""
    emulator = scene.use_gemini()
    worker = scene.start(pool)
    scene.until_alive(1)
    emulator.configure(latency_s=0.05)
    job = scene.ask(300)
    scene.until_calls(scene.moment(300))
    scene.provider_goes()
    until(lambda: scene.client.quotas.get(MODEL).why == "outage")
    settled = job.status().settled
    away = time.monotonic()
    until(lambda: time.monotonic() > away + STORM_S)  # the outage itself
    assert job.status().settled <= settled + 2 * scene.slots
    scene.provider_comes_back()
    # calls that were cut off when it went count as repeated: nobody answered them
    scene.check(job, "F29", "connections refused for a while", extra_calls=2 * scene.slots)
    assert worker.poll() is None


ONCE = (
    "reset:first=1",
    "drop:first=1",
    "drip:s=30,first=1",
    "hang:s=30,first=1",
    "half-json:first=1",
)


@pytest.mark.fault
def test_calls_that_break_off_drip_or_hang(scene: Scene, pool: str) -> None:
    scene.use_gemini()
    scene.fleet.extra["BATCHQ_OPERATIONS__GENERATE__TIMEOUT_S"] = "3"
    scene.start(pool)
    scene.until_alive(1)
    job = scene.ask(300, faults=ONCE * 3)
    scene.check(job, "F29", "calls reset, cut off, dripping, hanging", extra_calls=0)
    assert job.status().retries == 5 * 3
    assert max(result.duration_ms for result in job.results()) < 8_000, "the deadline is of the whole call"


@pytest.mark.fault
@pytest.mark.parametrize(
    ("address", "variant"),
    [
        ("http://no-such-host.invalid", "no such host"),
        ("https://127.0.0.1:{port}", "no TLS where it should be"),
    ],
    ids=["dns", "tls"],
)
def test_an_address_that_leads_nowhere(scene: Scene, pool: str, address: str, variant: str) -> None:
    """The job waits for a worker that can reach the provider, and nothing is spent meanwhile."""
    emulator = scene.use_gemini()
    lost = scene.start(pool, GOOGLE_GEMINI_BASE_URL=address.format(port=emulator.port))
    scene.until_alive(1)
    job = scene.ask(60)
    until(lambda: MODEL in str(scene.client.quotas.show()) and scene.client.quotas.get(MODEL).why == "outage")
    scene.kill(lost)
    scene.start(pool)
    scene.check(job, "F29", variant)


FAILED, DEAD = ItemState.FAILED, ItemState.DEAD_LETTER
NO_ANSWERS = {
    "blocked": (FAILED, "BLOCKED"),
    "safety": (FAILED, "BLOCKED"),
    "recitation": (FAILED, "BLOCKED"),
    "truncated": (FAILED, "TRUNCATED"),
    "400": (FAILED, "INVALID_ARGUMENT"),
    "no-candidates": (DEAD, "EMPTY"),
    "no-text": (DEAD, "EMPTY"),
    "not-json": (DEAD, "UNREADABLE"),
    "half-json": (DEAD, "UNREADABLE"),
    "empty": (DEAD, "UNREADABLE"),
    "charset": (DEAD, "UNREADABLE"),
    "huge": (DEAD, "UNREADABLE"),
    "reset": (DEAD, "CONNECTION"),
    "drop": (DEAD, "CONNECTION"),
    "503": (DEAD, "UNAVAILABLE"),
    "500": (DEAD, "INTERNAL"),
    "drip:s=20": (DEAD, "TIMEOUT"),
    "hang:s=20": (DEAD, "TIMEOUT"),
}


@SHORT_AND_LONG
def test_what_is_no_answer_is_told_apart_and_never_hurts_a_neighbour(scene: Scene, pool: str, n: int) -> None:
    scene.use_gemini()
    scene.fleet.extra["BATCHQ_OPERATIONS__GENERATE__MAX_ATTEMPTS"] = "2"
    scene.fleet.extra["BATCHQ_OPERATIONS__GENERATE__TIMEOUT_S"] = "2"
    worker = scene.start(pool, slots=40 if pool == "gevent" else 4)
    scene.until_alive(1)
    job = scene.ask(n, faults=tuple(NO_ANSWERS))
    ended = {f"q{number}": status for number, (_, status) in enumerate(NO_ANSWERS.values())}
    scene.check(job, "F30", "200 that is no answer: nonsense, empty, blocked, cut, 50 MB", ended=ended)
    bad = list(job.results())[: len(NO_ANSWERS)]
    assert [result.status for result in bad] == [state for state, _ in NO_ANSWERS.values()]
    assert max(result.duration_ms for result in bad) < 4_000, "the deadline is of the whole call"
    assert worker.poll() is None


@pytest.mark.fault
@pytest.mark.parametrize("code", ["401", "403"])
def test_a_refusal_that_hits_every_item_pauses_the_job(scene: Scene, pool: str, code: str) -> None:
    emulator = scene.use_gemini()
    scene.start(pool)
    scene.until_alive(1)
    emulator.configure(faults=(code,))
    job = scene.ask(300)
    until(lambda: job.status().state is JobState.PAUSED)
    until(lambda: job.status().processing == 0)
    paused = job.status()
    assert paused.settled == 0, "no item is settled by an error that hits every item"
    assert paused.requests <= 2 * scene.slots + 5
    emulator.configure(faults=())
    job.resume()
    scene.check(job, "F31", f"{code}: the job pauses, and goes on when told", extra_calls=0)


@pytest.mark.fault
def test_a_refusal_that_is_the_items_own_is_not_tried_again(scene: Scene, pool: str) -> None:
    emulator = scene.use_gemini()
    emulator.configure(faults=("400",))
    scene.start(pool)
    scene.until_alive(1)
    job = scene.ask(300)
    ended = {f"q{number}": "INVALID_ARGUMENT" for number in range(300)}
    scene.check(job, "F31", "400: each item fails after one call", ended=ended, extra_calls=0)
    assert emulator.stats()["requests"] == 300
