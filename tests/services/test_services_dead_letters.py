"""Dead letters as messages: one each, the newest kept, stale ones harmless; a worker that takes them redrives."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from typing import Any

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client, Item, ItemState, Job, JobState
from batchq.core.lifecycle import ItemByte
from batchq.core.records import ErrorInfo, Outcome, Usage
from batchq.embedded import EmbeddedServer
from batchq.flow.advance import advance
from batchq.flow.heal import sweep
from batchq.flow.letters import feed, redrive_letter
from batchq.store.codec import pack_outcome
from batchq.store.database import Database
from batchq.store.job_record import JobSpec
from batchq.store.leases import ClaimRequest, Healed, SettleRequest
from batchq.wiring import Place

QUEUE = "batchq.dead_letter"


def letters(database: Database) -> list[tuple[str, int]]:
    """(job, index) of each message in the queue, oldest first."""
    found = []
    for raw in reversed(database.command("LRANGE", QUEUE, 0, -1)):
        message = json.loads(raw)
        assert message["headers"]["task"] == "batchq.redrive"
        args, _, _ = json.loads(base64.b64decode(message["body"]))
        found.append((args[0], args[1]))
    return found


def failing(client: Client, n: int, failed: Collection[int], **options: Any) -> Job:
    """A job whose items at these positions have failed, as a worker would have left it."""
    job = client.submit(
        [Item(f"i{number}", {"n": number}) for number in range(n)], operation="work", **options
    )
    fail(client, job.id, 0, n, failed)
    return job


def fail(client: Client, job_id: str, lane: int, most: int, positions: Collection[int]) -> None:
    items, nonce = client.walk.items, "nonce"
    take = items.take(job_id, lane, most, most)
    claims = [ClaimRequest(at, take.ticket, nonce, True) for at in take.positions if at in positions]
    items.claim(job_id, lane, "worker", claims)
    error = ErrorInfo(400, "INVALID_ARGUMENT", "no")
    outcome = pack_outcome(Outcome(ItemState.FAILED, error=error, attempts=1))
    items.settle(
        job_id,
        lane,
        "worker",
        [
            SettleRequest(claim.position, nonce, ItemByte.FAILED, outcome, 1, 1, Usage(), None, error.status)
            for claim in claims
        ],
    )


def finished(client: Client, job_id: str) -> None:
    """Ends a job with nothing left to do, as any worker would."""
    advance(client.walk, job_id)
    assert client.status(job_id).state is JobState.COMPLETED


def test_each_dead_letter_is_one_message_when_its_job_ends(client: Client, database: Database) -> None:
    job = failing(client, 450, range(450))
    assert letters(database) == []
    finished(client, job.id)
    assert sorted(letters(database)) == [(job.id, index) for index in range(450)]
    assert client.walk.outbox.waiting(job.id) is False
    finished(client, job.id)
    assert len(letters(database)) == 450


def test_while_a_job_runs_the_sweeper_feeds_what_failed_so_far(client: Client, database: Database) -> None:
    job = failing(client, 9, {0, 3, 6})
    assert sweep(client.walk)
    assert letters(database) == [(job.id, 0), (job.id, 3), (job.id, 6)]


def test_the_index_is_the_place_in_the_input_also_where_operations_differ(
    client: Client, database: Database
) -> None:
    settings = client.settings.model_copy(update={"shard_items": 3})
    with Client(place=Place(settings, embedded=True)) as client:
        mixed = [Item(f"i{n}", {"prompt": "x"}, None if n % 4 else "generate") for n in range(40)]
        job = client.submit(mixed, operation="work", preflight=False)
        fail(client, job.id, 0, 40, range(40))
        fail(client, job.id, 1, 40, range(40))
        feed(client.walk, job.id)
        assert sorted(letters(database)) == [(job.id, n) for n in range(40)]
        for index in (0, 1, 20, 21, 36, 39):
            assert redrive_letter(client.walk, job.id, index)
        left = {letter.index for letter in client.dead_letters(job.id)}
        assert left == set(range(40)) - {0, 1, 20, 21, 36, 39}


def test_an_item_under_which_its_workers_died_is_fed_too(client: Client, database: Database) -> None:
    job = client.submit([Item("a", {"n": 0}), Item("b", {"n": 1})], operation="work")
    items, spec = client.walk.items, client.walk.spec(job.id)
    take = items.take(job.id, 0, 1, 10)
    (claimed,) = items.claim(job.id, 0, "dead", [ClaimRequest(take.positions[0], take.ticket, "nonce", True)])
    assert claimed.lease is not None
    eventually(lambda: _healed(client, spec).poisoned)
    feed(client.walk, job.id)
    assert letters(database) == [(job.id, 0)]
    assert redrive_letter(client.walk, job.id, 0)


def _healed(client: Client, spec: JobSpec) -> Healed:
    return client.walk.items.heal(
        spec,
        alive=[],
        grace_until_ms=0,
        lease_ms=0,
        lease_max_ms=1_000_000,
        undelivered_ms=1_000_000,
        max_crashes=1,
    )


def test_of_too_many_the_newest_are_kept(server: EmbeddedServer, client: Client, database: Database) -> None:
    settings = client.settings.model_copy(update={"dead_letter_queue_limit": 25})
    with Client(place=Place(settings, embedded=True)) as client:
        first, second = failing(client, 30, range(30)), failing(client, 10, range(10))
        finished(client, first.id)
        finished(client, second.id)
        assert len(letters(database)) == 25
        assert letters(database)[15:] == [(second.id, index) for index in range(10)]
        assert {job_id for job_id, _ in letters(database)[:15]} == {first.id}
        assert client.status(first.id).failed == 30, "the store has them all"


def test_a_queue_that_is_turned_off_gets_none(
    server: EmbeddedServer, client: Client, database: Database
) -> None:
    settings = client.settings.model_copy(update={"dead_letter_queue_limit": 0})
    with Client(place=Place(settings, embedded=True)) as client:
        job = failing(client, 3, range(3))
        finished(client, job.id)
        assert letters(database) == []
        assert database.command("EXISTS", database.job_keys(job.id).box) == 0


def test_two_who_feed_at_once_send_nothing_twice_and_a_dead_one_blocks_nobody_for_long(
    client: Client, database: Database
) -> None:
    job = failing(client, 5, range(5))
    assert client.walk.outbox.open(job.id, "somebody")
    assert feed(client.walk, job.id) is False
    finished(client, job.id)
    assert letters(database) == []
    assert 0 < database.command("PTTL", database.job_keys(job.id).box_lock) <= 30_000
    client.walk.outbox.close(job.id, "somebody")
    sweep(client.walk)
    assert len(letters(database)) == 5, "the job is looked at until they are sent, ended or not"


def test_a_stale_message_does_nothing(client: Client) -> None:
    job = failing(client, 7, range(1, 7))
    refused = client.submit([Item("bad", {"prompt": ""}), Item("b", {"prompt": "x"})], preflight=False)
    gone, cancelled = failing(client, 1, [0]), failing(client, 2, [1])
    finished(client, gone.id)
    client.delete(gone.id)
    client.cancel(cancelled.id)
    client.purge(job.id, ids=["i5"])
    walk = client.walk
    assert [redrive_letter(walk, job.id, index) for index in (0, 5, 7, 10**9)] == [False] * 4
    assert [redrive_letter(walk, job_id, 0) for job_id in (gone.id, "never-there", refused.id)] == [False] * 3
    assert redrive_letter(walk, cancelled.id, 1) is False
    assert redrive_letter(walk, job.id, 1) is True
    assert redrive_letter(walk, job.id, 1) is False, "it is pending now"
    assert (client.status(job.id).failed, client.status(job.id).pending) == (5, 1)


def test_a_redrive_opens_an_ended_job_again_and_says_so(client: Client) -> None:
    job = failing(client, 3, range(3))
    finished(client, job.id)
    assert redrive_letter(client.walk, job.id, 1)
    assert redrive_letter(client.walk, job.id, 2)
    record = client.status(job.id)
    assert (record.state, record.pending, record.failed) == (JobState.PROCESSING, 2, 1)
    assert record.errors == {"INVALID_ARGUMENT": 1}
    assert [change.change for change in record.history].count("redrive") == 1, "not a line for each message"


@pytest.mark.parametrize(("pool", "slots"), [("gevent", 10)])
def test_a_worker_that_names_the_queue_redrives_and_not_for_ever(
    fleet: Fleet, client: Client, database: Database, pool: str, slots: int
) -> None:
    fleet.extra["BATCHQ_AUTOMATIC_REDRIVES"] = "2"
    fleet.start(pool, slots)
    job = client.submit(
        [
            Item("mends", {"n": 1, "fail": 1, "error": "refused"}),
            Item("never", {"n": 2, "fail": 99, "error": "refused"}),
            *[Item(f"i{number}", {"n": number}) for number in range(10)],
        ],
        operation="work",
    )
    assert job.wait(30).failed == 2
    eventually(lambda: letters(database) == [(job.id, 0), (job.id, 1)])

    fleet.start(pool, slots, "-Q", QUEUE)
    eventually(lambda: "it stays" in fleet.logs())
    eventually(lambda: job.status().state is JobState.COMPLETED and not letters(database))
    record = job.wait(30)
    assert (record.succeeded, record.failed) == (11, 1)
    assert fleet.calls() == {"mends": 2, "never": 3, **{f"i{number}": 1 for number in range(10)}}


def test_many_are_purged_in_slices(client: Client, database: Database) -> None:
    job = client.submit([Item(f"i{n}", {"prompt": ""}) for n in range(2_500)], preflight=False)
    database.command("CONFIG", "RESETSTAT")
    assert client.purge(job_id=job.id) == 2_500
    assert database.command("INFO", "commandstats")["cmdstat_sadd"]["calls"] == 3
    assert list(client.dead_letters(job_id=job.id)) == []
    assert client.purge(job_id=job.id) == 0
    assert job.status().failed == 2_500
