"""Jobs through real workers: what arrives, in which order, counted how."""

from __future__ import annotations

import time

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client, Item
from batchq.core.lifecycle import ItemState, JobState
from batchq.flow.advance import advance
from batchq.store.database import Database


def items(n: int, **fields: object) -> list[Item]:
    return [Item(f"i{number}", {"n": number, **fields}) for number in range(n)]


@pytest.mark.parametrize(("pool", "slots"), [("gevent", 20), ("threads", 4), ("prefork", 2)])
def test_every_item_is_called_once_and_its_answer_stands_at_its_place(
    fleet: Fleet, client: Client, pool: str, slots: int
) -> None:
    fleet.start(pool, slots)
    job = client.submit(items(150), operation="work")
    record = job.wait(60)
    assert record.state is JobState.COMPLETED
    assert (record.succeeded, record.requests, record.repeated) == (150, 150, 0)
    assert [(result.id, result.data) for result in job.results()] == [
        (f"i{number}", {"answer": number}) for number in range(150)
    ]
    assert set(fleet.calls().values()) == {1}


def test_a_job_within_its_window_is_exactly_one_chord(
    fleet: Fleet, client: Client, database: Database
) -> None:
    fleet.start("gevent", 50)
    job = client.submit(items(60), operation="work")
    job.wait(60)
    waves = database.command("HGET", database.job_keys(job.id).job, "ticket")
    assert waves == b"1"
    eventually(lambda: "wave 1 is through, 60 items" in fleet.logs())


def test_a_larger_job_rolls_and_its_window_is_never_overrun(fleet: Fleet, client: Client) -> None:
    fleet.start("gevent", 10)
    job = client.submit(items(200, ms=5), operation="work")
    seen = []
    client.wait(job.id, 60, watch=lambda record: seen.append(record.processing) or False)
    assert max(seen) <= 20, "twice the slots of the one live worker"
    assert job.status().succeeded == 200


def test_nothing_is_sent_to_a_queue_that_nobody_consumes(client: Client, database: Database) -> None:
    job = client.submit(items(50), operation="work")
    advance(client.walk, job.id)
    assert database.command("LLEN", "batchq.work") == 0
    assert job.status().pending == 50


def test_passing_errors_are_retried_with_their_history_and_run_out(fleet: Fleet, client: Client) -> None:
    fleet.extra["BATCHQ_OPERATIONS__WORK__MAX_ATTEMPTS"] = "2"
    fleet.start()
    rows = [
        Item("passes", {"n": 1, "fail": 1, "error": "passing"}),
        Item("runs-out", {"n": 2, "fail": 9, "error": "passing"}),
        Item("refused", {"n": 3, "fail": 9, "error": "refused"}),
        *items(20),
    ]
    job = client.submit(rows, operation="work")
    record = job.wait(60)
    results = {result.id: result for result in job.results()}
    assert (record.succeeded, record.dead_letter, record.failed) == (21, 1, 1)
    assert record.errors == {"UNAVAILABLE": 1, "INVALID_ARGUMENT": 1}
    assert (results["passes"].status, results["passes"].attempts) == (ItemState.SUCCEEDED, 2)
    assert [attempt.error.status for attempt in results["passes"].outcome.history] == ["UNAVAILABLE"]
    assert len(results["runs-out"].outcome.history) == 2
    assert fleet.calls()["refused"] == 1, "refused for good: never asked again"
    eventually(lambda: "is through, 23 items" in fleet.logs())  # failures cost the chord nothing


def test_rate_limits_cost_no_attempt_and_the_item_waits_as_told(fleet: Fleet, client: Client) -> None:
    fleet.extra["BATCHQ_OPERATIONS__WORK__MAX_ATTEMPTS"] = "1"
    fleet.start()
    job = client.submit([Item("a", {"n": 1, "fail": 2, "error": "limited"})], operation="work")
    record = job.wait(60)
    (result,) = job.results()
    assert (record.succeeded, record.rate_limited, record.retries) == (1, 2, 0)
    assert (result.attempts, result.outcome.rate_limited) == (1, 2)
    begun = [float(words[3]) for words in fleet.lines() if words[0] == "call"]
    assert begun[1] - begun[0] >= 1.2, "RetryInfo plus the margin"


def test_fatal_errors_pause_the_job_and_resume_goes_on(fleet: Fleet, client: Client) -> None:
    fleet.start("gevent", 2)
    job = client.submit(items(30, fail=1, error="fatal"), operation="work")
    eventually(lambda: job.status().state is JobState.PAUSED)
    eventually(lambda: job.status().processing == 0)
    record = job.status()
    assert record.settled == 0, "no item is settled by an error that hits every item"
    assert record.reason == "the key is not valid"
    assert [(one.change, one.by, one.why) for one in record.history[1:]] == [
        ("paused", "worker", record.reason)
    ]
    assert record.requests < 30, "it paused long before every item was tried"
    while job.status().state is not JobState.COMPLETED:  # each item is refused once, so it pauses again
        if job.status().state is JobState.PAUSED:
            job.resume()
    assert job.status().succeeded == 30


def test_a_redrive_opens_a_finished_job_and_its_counts_and_results_come_right(
    fleet: Fleet, client: Client
) -> None:
    fleet.start()
    rows = [*items(10), Item("bad", {"n": 99, "fail": 2, "error": "refused"}), *[Item("last", {"n": 7})]]
    job = client.submit(rows, operation="work")
    assert job.wait(60).failed == 1
    (letter,) = client.dead_letters(job.id)
    assert (letter.id, letter.reason, letter.attempts) == ("bad", "INVALID_ARGUMENT", 1)
    assert client.redrive(job.id) == 1
    assert job.wait(60).failed == 1
    (letter,) = client.dead_letters(job.id)
    told = ["INVALID_ARGUMENT", "REDRIVEN", "INVALID_ARGUMENT"]
    assert [attempt.error.status for attempt in letter.history] == told, "no call is forgotten"
    assert client.redrive(job.id) == 1
    record = job.wait(60)
    assert (record.state, record.succeeded, record.failed, record.errors) == (JobState.COMPLETED, 12, 0, {})
    results = {result.id: result for result in job.results()}
    assert list(results) == [row.id for row in rows]
    history = results["bad"].outcome.history
    assert [attempt.error.status for attempt in history] == [*told, "REDRIVEN"]
    assert list(client.dead_letters(job.id)) == []


def test_what_was_refused_before_any_call_is_not_redriven(fleet: Fleet, client: Client) -> None:
    fleet.start()
    job = client.submit(
        [Item("fine", {"n": 1}), {"id": "bad", "operation": "generate", "prompt": " "}], operation="work"
    )
    assert job.wait(60).failed == 1
    (letter,) = client.dead_letters(job.id)
    assert (letter.reason, letter.refused_before_any_call) == ("EMPTY_PROMPT", True)
    assert client.redrive(job.id) == 0
    assert job.status().state is JobState.COMPLETED
    assert "bad" not in fleet.calls()


@pytest.mark.fault  # four backoffs in a row
def test_a_refusal_that_one_item_alone_meets_does_not_keep_its_job_open(fleet: Fleet, client: Client) -> None:
    fleet.extra["BATCHQ_FATAL_IN_A_ROW"] = "2"
    fleet.start("gevent", 4)
    rows = [*items(200, ms=30), Item("forbidden", {"n": 1, "fail": 99, "error": "fatal"})]
    job = client.submit(rows, operation="work")

    def ended() -> bool:
        state = job.status().state
        if state is JobState.PAUSED:
            job.resume()
        return state is JobState.COMPLETED

    eventually(ended, 60)
    record = job.status()
    assert (record.succeeded, record.failed, record.errors) == (200, 1, {"UNAUTHENTICATED": 1})
    assert fleet.calls()["forbidden"] == 5


def test_a_paused_job_sends_nothing_until_it_is_resumed(fleet: Fleet, client: Client) -> None:
    fleet.start("gevent", 4)
    job = client.submit(items(60, ms=50), operation="work")
    eventually(lambda: job.status().settled > 4)
    job.pause("lunch")
    eventually(lambda: job.status().processing == 0)
    paused = job.status()
    assert (paused.state, paused.reason) == (JobState.PAUSED, "lunch")
    assert 0 < paused.pending < 60
    eventually(lambda: job.status().idle_s > paused.idle_s)
    job.resume()
    assert job.wait(60).succeeded == 60
    assert set(fleet.calls().values()) == {1}


def test_a_cancelled_job_settles_what_is_pending_at_once_and_ends(fleet: Fleet, client: Client) -> None:
    fleet.start("gevent", 4)
    job = client.submit(items(300, ms=100), operation="work")
    eventually(lambda: job.status().settled > 0)
    job.cancel()
    assert job.status().state is JobState.CANCELLED
    record = job.wait(30)
    assert record.cancelled > 200
    assert record.succeeded + record.cancelled == 300
    assert {result.error.status for result in job.results() if result.error} == {"CANCELLED"}


def test_a_deadline_cancels_what_is_pending_and_the_job_completes(fleet: Fleet, client: Client) -> None:
    fleet.start("gevent", 2)
    job = client.submit(items(200, ms=100), operation="work", deadline=time.time() + 2)
    record = job.wait(30)
    assert (record.state, record.reason) == (JobState.COMPLETED, "deadline")
    assert record.cancelled > 0
    assert record.succeeded + record.cancelled == 200


def test_a_jobs_own_concurrency_holds_across_the_fleet(fleet: Fleet, client: Client) -> None:
    fleet.start("gevent", 10)
    fleet.start("gevent", 10)
    job = client.submit(items(40, ms=60), operation="work", concurrency=3)
    job.wait(60)
    moments = sorted(
        [(float(words[3]), 1) for words in fleet.lines() if words[0] == "call"]
        + [(float(words[3]), -1) for words in fleet.lines() if words[0] == "end"]
    )
    running = most = 0
    for _, step in moments:
        running += step
        most = max(most, running)
    assert most <= 3


def test_a_jobs_own_rate_holds_across_the_fleet(fleet: Fleet, client: Client) -> None:
    fleet.start("gevent", 10)
    fleet.start("gevent", 10)
    job = client.submit(items(30), operation="work", rpm=300)
    record = job.wait(60)
    begun = sorted(float(words[3]) for words in fleet.lines() if words[0] == "call")
    assert record.succeeded == 30
    assert begun[-1] - begun[0] >= 29 * 0.2 - 0.6, "5 a second, a permit may be half a second late"


def test_a_job_under_the_id_of_a_deleted_one_is_another_job(fleet: Fleet, client: Client) -> None:
    fleet.start("gevent", 5)
    for first in (0, 100):
        rows = [Item(f"i{n}", {"n": n + first}) for n in range(5)]
        job = client.submit(rows, operation="work", idempotency_key="nightly")
        job.wait(60)
        assert [result.data for result in job.results()] == [{"answer": n + first} for n in range(5)]
        client.delete(job.id)
