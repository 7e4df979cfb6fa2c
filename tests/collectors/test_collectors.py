"""Items added one by one become jobs: at a number, after a time, or when asked; each in one job, whoever dies."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import chain

import pytest

from batchq import AsyncClient, Client, Conflict, InputError, Item, StoreUnavailable
from batchq.cli import main
from batchq.flow.heal import sweep
from batchq.store.collectors import OWNER_STALE_MS, Batch
from batchq.store.database import Database
from batchq.wiring import Place

WORK = {"operation": "work"}


def store_of(client: Client) -> Database:
    database: Database = client.walk.jobs._db
    return database


def item(name: str, n: int = 1) -> Item:
    return Item(name, {"n": n})


def ids_of(client: Client) -> list[list[str]]:
    """The items of each job, the oldest job first."""
    jobs = sorted(client.list(), key=lambda record: record.created_at)
    return [[stored.id for stored in client.walk.outcomes.results(record.id, lanes=1)] for record in jobs]


def at(client: Client, ms: int) -> None:
    store_of(client).now_ms = ms


def test_a_batch_becomes_a_job_when_it_is_full_and_the_rest_when_it_has_waited(client: Client) -> None:
    start = store_of(client).server_ms()
    at(client, start)
    collector = client.collector(
        "mail", flush_items=3, flush_after_s=60, priority=7, metadata={"a": 1}, **WORK
    )
    assert [collector.add(item(one)) for one in "abcd"] == list("abcd")
    assert ids_of(client) == []
    sweep(client.walk)
    assert ids_of(client) == [["a", "b", "c"]]
    [record] = client.list()
    assert (record.operation, record.priority) == ("work", 7)
    assert record.metadata == {"a": 1, "collector": "mail"}

    at(client, start + 59_000)
    sweep(client.walk)
    assert len(ids_of(client)) == 1
    at(client, start + 60_000)
    sweep(client.walk)
    assert ids_of(client)[1:] == [["d"]]


def test_the_interval_begins_with_the_first_item_and_needs_no_further_one(client: Client) -> None:
    start = store_of(client).server_ms()
    at(client, start)
    collector = client.collector("mail", flush_after_s=10, **WORK)
    collector.add(item("a"))
    at(client, start + 9_000)
    collector.add(item("b"))
    sweep(client.walk)
    assert ids_of(client) == []
    at(client, start + 10_000)
    sweep(client.walk)
    assert ids_of(client) == [["a", "b"]]


def test_flush_makes_jobs_of_all_that_waits_none_larger_than_asked_for(client: Client) -> None:
    collector = client.collector("mail", flush_items=3, **WORK)
    for number in range(7):
        collector.add(item(f"i{number}"))
    jobs = collector.flush()
    assert [job.status().total for job in jobs] == [3, 3, 1]
    assert collector.flush() == []
    assert sorted(chain.from_iterable(ids_of(client))) == [f"i{number}" for number in range(7)]


def test_an_item_added_again_counts_once_and_another_with_its_id_is_refused(client: Client) -> None:
    collector = client.collector("mail", **WORK)
    assert collector.add(item("a")) == collector.add(item("a")) == "a"
    with pytest.raises(Conflict, match="'a' with other content"):
        collector.add(item("a", n=2))
    client.collector("other", **WORK).add(item("a", n=3))
    collector.flush()
    assert ids_of(client) == [["a"]]
    collector.add(item("a", n=2))  # the first is a job now
    collector.flush()
    assert ids_of(client) == [["a"], ["a"]]


def test_items_without_an_id_get_one_and_a_template_is_filled_when_they_come(client: Client) -> None:
    collector = client.collector("mail", prompt="Sort: {text}")
    first, second = collector.add({"text": "x"}), collector.add({"text": "x"})
    assert first != second
    [job] = collector.flush()
    inputs = [stored.input for stored in client.walk.outcomes.results(job.id, lanes=1)]
    assert inputs == [{"prompt": "Sort: x"}] * 2


def test_a_batch_whose_maker_died_is_made_a_job_by_another_once(client: Client) -> None:
    start = store_of(client).server_ms()
    at(client, start)
    collector = client.collector("mail", flush_items=2, **WORK)
    collector.add(item("a"))
    collector.add(item("b"))
    assert isinstance(client.walk.collectors.cut("mail", "dead", force=False), Batch)  # and no more of it
    collector.add(item("c"))
    sweep(client.walk)
    assert collector.flush() == []  # perhaps it lives
    at(client, start + OWNER_STALE_MS)
    sweep(client.walk)
    assert ids_of(client) == [["a", "b"]]
    at(client, start + OWNER_STALE_MS + 1)
    collector.flush()
    assert ids_of(client) == [["a", "b"], ["c"]]


def test_a_maker_that_dies_after_the_job_is_stored_makes_no_second_one(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = client.collector("mail", flush_items=2, **WORK)
    collector.add(item("a"))
    collector.add(item("b"))

    def dies(*_: object) -> None:
        raise StoreUnavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(client.walk.collectors, "done", dies)
        with pytest.raises(StoreUnavailable):
            collector.flush()
    collector.add(item("c"))
    at(client, store_of(client).server_ms() + OWNER_STALE_MS)
    assert len(collector.flush()) == 2
    assert ids_of(client) == [["a", "b"], ["c"]]


def test_a_batch_that_cannot_be_a_job_is_kept_told_and_tried_again(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collector = client.collector("mail", flush_items=1, model="house", max_cost=None, preflight=False)
    collector.add("a question")
    with monkeypatch.context() as patch:
        patch.setattr("batchq.flow.shard_writer.MAX_LANES", 0)
        sweep(client.walk)
    [view] = client.walk.collectors.views()
    assert (view.waiting, view.in_batch, view.batches) == (0, 1, 0)
    assert view.error is not None
    assert "kinds of operations" in view.error
    monkeypatch.setenv("BATCHQ_REDIS_URL", client.settings.store_url)
    assert main(["collectors"]) == 0
    assert "kinds of operations" in capsys.readouterr().out
    assert len(collector.flush()) == 1
    assert main(["collectors", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["waiting"], told["batches"], told["error"]) == ("mail", 0, 1, None)


def test_what_could_not_be_a_job_or_an_item_is_refused_at_once(client: Client) -> None:
    for options, said in (
        ({"job_id": "x"}, "leave job_id out"),
        ({"idempotency_key": "x"}, "leave idempotency_key out"),
        ({"deadline": time.time() + 60}, "leave deadline out"),
        ({"destination": "file:///shared/out.jsonl"}, "each would write over the file of the one before"),
        ({"flush_items": 0}, "flush_items 0"),
        ({"flush_after_s": 0}, "flush_after_s 0"),
        ({"priority": 11}, "priority 11"),
    ):
        with pytest.raises(InputError, match=said):
            client.collector("mail", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a collector's name"):
        client.collector("../mail")
    collector = client.collector("mail")
    for bad, said in (
        ("", "empty"),
        ({"file": __file__}, "takes no files"),
        ({"id": "a", "prompt": 5}, "item a: "),
    ):
        with pytest.raises(InputError, match=said):
            collector.add(bad)
    assert client.walk.collectors.views() == []


def test_the_asynchronous_client_has_collectors_too(client: Client) -> None:
    async def run() -> list[int]:
        async with AsyncClient(place=Place(client.settings, embedded=True)) as aclient:
            collector = aclient.collector("mail", flush_items=2, **WORK)
            await asyncio.gather(*(collector.add(item(f"i{number}")) for number in range(3)))
            return [(await job.status()).total for job in await collector.flush()]

    assert asyncio.run(run()) == [2, 1]
