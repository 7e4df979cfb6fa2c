"""kill -9 of a worker at every place of an item's walk: its items move on, nothing is lost, nothing settles twice."""

from __future__ import annotations

import pytest

from batchq import Item
from faults.kit import CALL_MS, SHORT_AND_LONG, SLOTS, Scene, until


@SHORT_AND_LONG
def test_killed_with_messages_taken_and_not_begun(scene: Scene, pool: str, n: int) -> None:
    """The messages are gone for good; the sweeper sends their items again."""
    doomed = scene.start_dying(pool, "taken", scene.dice.randint(1, 3))
    scene.until_alive(1)
    job = scene.submit(n)
    scene.death_of(doomed)
    scene.start(pool)
    scene.check(job, "F1", "kill -9 with messages taken and not begun")


@pytest.mark.fault
def test_killed_after_the_claim_and_before_the_call(scene: Scene, pool: str) -> None:
    doomed = scene.start_dying(pool, "claimed", scene.dice.randint(1, 30), slots=1)
    scene.until_alive(1)
    job = scene.submit(300, ms=10)
    scene.death_of(doomed)
    scene.start(pool)
    scene.check(job, "F2", "kill -9 after the claim, before the call", extra_calls=0)


@SHORT_AND_LONG
def test_the_only_worker_killed_during_its_calls(scene: Scene, pool: str, n: int) -> None:
    doomed = scene.start(pool)
    scene.until_alive(1)
    job = scene.submit(n)
    scene.until_calls(scene.moment(n))
    scene.kill(doomed)
    scene.start(pool)
    scene.check(job, "F3", "kill -9 during the call, another is started")


@pytest.mark.fault
def test_one_of_two_workers_killed_during_its_calls(scene: Scene, pool: str) -> None:
    doomed = scene.start(pool)
    scene.start(pool)
    scene.until_alive(2)
    job = scene.submit(300)
    scene.until_calls(scene.moment(300))
    scene.kill(doomed)
    scene.check(job, "F3", "kill -9 during the call, another is at work")


@pytest.mark.fault
def test_killed_between_the_answer_and_its_settle(scene: Scene, pool: str) -> None:
    doomed = scene.start_dying(pool, "answered", scene.dice.randint(1, 30), slots=1)
    scene.until_alive(1)
    job = scene.submit(300, ms=10)
    scene.death_of(doomed)
    scene.start(pool)
    figures = scene.check(job, "F4", "kill -9 after the answer, before its settle", extra_calls=1)
    assert figures.repeated == 1, "the answer died with the worker"


@SHORT_AND_LONG
def test_killed_between_settle_and_acknowledgement(scene: Scene, pool: str, n: int) -> None:
    """The message comes again, and is dropped at the claim: no call is repeated."""
    doomed = scene.start_dying(pool, "settled", scene.dice.randint(1, n // 10), slots=1)
    scene.until_alive(1)
    job = scene.submit(n, ms=10)
    scene.death_of(doomed)
    scene.send_again(job, range(n), tickets=range(1, scene.tickets(job) + 1))  # as a broker does that kept it
    scene.start(pool)
    scene.check(job, "F5", "kill -9 between settle and acknowledgement", extra_calls=0)
    until(lambda: not scene.database.command("LLEN", "batchq.work"))
    assert set(scene.calls().values()) == {1}


@pytest.mark.fault
@pytest.mark.parametrize(
    ("point", "variant"),
    [
        ("finishing", "kill -9 when all is settled, before the end is begun"),
        ("committing", "kill -9 between begin and commit of the end"),
    ],
)
def test_killed_while_it_ends_a_job(scene: Scene, pool: str, point: str, variant: str) -> None:
    doomed = scene.start_dying(pool, point, 1)
    scene.until_alive(1)
    job = scene.submit(300, ms=10)
    scene.death_of(doomed)
    assert job.status().finished_at is None
    scene.start(pool)
    scene.check(job, "F6", variant, extra_calls=0)


@pytest.mark.fault
def test_killed_between_the_last_part_of_a_wave_and_its_callback(scene: Scene, pool: str) -> None:
    doomed = scene.start_dying(pool, "counted", 1)
    scene.until_alive(1)
    job = scene.submit(300)
    scene.death_of(doomed)
    scene.start(pool)
    scene.check(job, "F7", "kill -9 between the last item counted and the callback")


@pytest.mark.fault
@pytest.mark.parametrize(
    ("longest_s", "variant"), [("30", "by message"), ("0.001", "by the store")], ids=["message", "store"]
)
def test_the_holder_of_delayed_retries_is_killed(
    scene: Scene, pool: str, longest_s: str, variant: str
) -> None:
    scene.fleet.extra["BATCHQ_MESSAGE_RETRY_S"] = longest_s
    doomed = scene.start(pool)
    scene.until_alive(1)
    rows = [Item(f"i{n}", {"n": n, "fail": 2, "error": "passing"}) for n in range(60)]
    job = scene.submit_rows(rows, {row.id: {"answer": row.input["n"]} for row in rows})
    scene.until_calls(40)  # each of them failed, and waits
    scene.kill(doomed)
    scene.start(pool)
    scene.check(job, "F8", f"kill -9 of the holder of delayed retries, {variant}")
    calls = scene.calls()
    assert all(result.attempts >= calls[result.id] for result in job.results()), "no attempt is forgotten"
    assert min(calls.values()) >= 3


@pytest.mark.fault
def test_all_workers_killed_and_started_again_later(scene: Scene, pool: str) -> None:
    fleet = [scene.start(pool), scene.start(pool)]
    scene.until_alive(2)
    job = scene.submit(300)
    scene.until_calls(scene.moment(300))
    scene.kill(*fleet)
    until(lambda: not scene.client.fleet())
    assert job.status().finished_at is None
    scene.start(pool)
    scene.start(pool)
    scene.check(job, "F9", "kill -9 of all workers, started again later")


@pytest.mark.parametrize("n", [60, pytest.param(300, marks=pytest.mark.fault)])
def test_a_child_of_prefork_killed(scene: Scene, n: int) -> None:
    worker = scene.start("prefork")
    scene.until_alive(1)
    job = scene.submit(n, ms=60)
    scene.until_calls(scene.moment(n))
    scene.kill_child(worker)
    scene.check(job, "F10", "kill -9 of a child of prefork")
    assert worker.poll() is None


@pytest.mark.fault
def test_an_item_that_kills_its_worker_three_times_is_set_aside(scene: Scene, pool: str) -> None:
    scene.pool = pool
    rows = [
        Item(f"i{n}", {"n": n, "ms": CALL_MS[pool], **({"kill": 1} if n == 7 else {})}) for n in range(100)
    ]
    scene.start(pool)
    scene.until_alive(1)
    job = scene.submit_rows(rows, {row.id: {"answer": row.input["n"]} for row in rows})
    if pool == "gevent":  # the whole worker dies; somebody starts it again, as systemd does
        for _ in range(3):
            scene.death_of(scene.fleet.workers[-1])
            scene.start(pool)
    allowed = (
        3 if pool == "prefork" else 3 * SLOTS[pool]
    )  # the record counts the last one, too, as a call lost
    scene.check(
        job, "F11", "an item kills its worker three times", ended={"i7": "POISON"}, extra_calls=allowed
    )
    assert scene.calls()["i7"] == 3
