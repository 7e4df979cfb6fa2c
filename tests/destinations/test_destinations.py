"""Results at a job's destination: written by whoever finishes it, once in effect, or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from pathlib import Path

import pytest
from fleet_kit import eventually
from places import OLD, Place

from batchq import Client, Conflict, InputError, Job
from batchq.core.lifecycle import ItemByte, ItemState, JobState
from batchq.core.records import ErrorInfo, Outcome
from batchq.flow.finish import finish
from batchq.store import codec
from batchq.store.leases import ClaimRequest, SettleRequest, Verdict

IDS = ("a", "b", "c")
NEW = dict.fromkeys(IDS, "done")
WORKER = "a worker"


def submit(client: Client, place: Place | None, **options: object) -> Job:
    where = {} if place is None else {"destination": place.url}
    return client.submit(
        [{"id": one, "input": {"n": 1}} for one in IDS], operation="work", **where, **options
    )  # type: ignore[arg-type]


def work(client: Client, job: Job, *, failing: Collection[str] = ()) -> None:
    """Settle what is pending as a worker does, and finish the job as it then would."""
    walk = client.walk
    take = walk.items.take(job.id, 0, 100, 100)
    claims = [ClaimRequest(position, take.ticket, f"n{position}", begun=True) for position in take.positions]
    leases = [one.lease for one in walk.items.claim(job.id, 0, WORKER, claims) if one.verdict is Verdict.OK]
    requests = []
    for lease in leases:
        assert lease is not None
        if IDS[lease.position] in failing:
            outcome = Outcome(ItemState.FAILED, error=ErrorInfo(400, "REFUSED", "no"), attempts=1)
        else:
            outcome = Outcome(ItemState.SUCCEEDED, response={"output": "done"}, attempts=1)
        byte = ItemByte.SUCCEEDED if outcome.error is None else ItemByte.FAILED
        blob, kind = codec.pack_outcome(outcome), outcome.error.status if outcome.error else ""
        requests.append(
            SettleRequest(lease.position, lease.nonce, byte, blob, 1, 5, outcome.usage, None, kind)
        )
    walk.items.settle(job.id, 0, WORKER, requests)
    finish(walk, walk.spec(job.id))


def ended(job: Job) -> JobState:
    eventually(lambda: job.status().finished_at is not None)
    return job.status().state


def texts(place: Place) -> dict[str, str]:
    return {id: text.strip('"') for id, text in place.read().items()}


def test_results_are_at_their_destination_before_the_job_is_completed(client: Client, place: Place) -> None:
    job = submit(client, place)
    assert job.status().destination == {
        "url": job.status().destination["url"],
        "state": "waiting",
        "written": 0,
        "tries": 0,
        "error": None,
    }
    work(client, job)
    assert ended(job) is JobState.COMPLETED
    assert texts(place) == ({**OLD, **NEW} if place.keeps_others else NEW)
    told = job.status().destination
    assert told is not None
    assert (told["state"], told["written"]) == ("written", 3)
    assert [result.data for result in job.results()] == ["done"] * 3


def test_all_or_nothing_leaves_the_destination_untouched_until_every_item_succeeded(
    client: Client, place: Place
) -> None:
    job = submit(client, place, all_or_nothing=True)
    with pytest.raises(Conflict, match="all or nothing and pending"):
        list(job.results())
    work(client, job, failing=["b"])
    assert ended(job) is JobState.FAILED
    record = job.status()
    assert record.error == "all or nothing: 1 of 3 items did not succeed, so nothing is published"
    assert record.history[-1].change == "failed"
    assert record.destination is not None
    assert record.destination["state"] == "withheld"
    assert texts(place) == OLD
    for wait in (False, True):
        with pytest.raises(Conflict, match=r"1 of 3 items did not succeed.*dlq redrive"):
            list(job.results(wait=wait))
    assert [letter.id for letter in client.dead_letters(job.id)] == ["b"]

    assert client.redrive(job.id) == 1
    assert (job.status().state, job.status().error) == (JobState.PROCESSING, None)
    work(client, job)
    assert ended(job) is JobState.COMPLETED
    assert texts(place) == ({**OLD, **NEW} if place.keeps_others else NEW)
    assert [result.id for result in job.results()] == list(IDS)


def test_a_deadline_that_passes_breaks_the_promise_and_a_cancelled_job_publishes_nothing(
    client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    job = client.submit(["x"], operation="work", destination=f"file://{path}")
    job.cancel()
    assert ended(job) is JobState.CANCELLED
    assert job.status().destination["state"] == "withheld"
    whole = submit(client, None, all_or_nothing=True)
    whole.cancel()
    with pytest.raises(Conflict, match="cancelled and all or nothing"):
        list(whole.results())
    assert not path.exists()


def test_a_destination_that_refuses_for_good_fails_the_job_and_one_that_is_away_is_tried_again(
    client: Client, tmp_path: Path
) -> None:
    database = tmp_path / "other.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE batchq_results (name TEXT)")
    refused = submit(client, Place(f"sqlite:///{database}", dict, keeps_others=True))
    work(client, refused)
    assert ended(refused) is JobState.FAILED
    assert "has no column id" in (refused.status().error or "")
    assert refused.status().destination["state"] == "failed"
    assert len(list(refused.results())) == 3  # they are safe in the job

    blocker = tmp_path / "folder"
    blocker.write_text("a file where a folder should be")
    away = submit(client, Place(f"file://{blocker}/out.jsonl", dict, keeps_others=False))
    work(client, away)
    eventually(lambda: away.status().destination["tries"] == 1)
    told = away.status()
    assert (told.state, told.destination["state"]) == (JobState.PROCESSING, "waiting")
    assert "not a directory" in told.destination["error"] or "exists" in told.destination["error"]
    assert finish(client.walk, client.walk.spec(away.id)) is False  # not before it is due
    blocker.unlink()
    client.walk.publications.failed(away.id, 1, "", 0)
    finish(client.walk, client.walk.spec(away.id))
    assert ended(away) is JobState.COMPLETED
    assert len((blocker / "out.jsonl").read_text().splitlines()) == 3


def test_a_redrive_while_results_are_written_keeps_them_from_being_swapped_in(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    job = submit(client, Place(f"file://{path}", dict, keeps_others=False))
    results = client.walk.outcomes.results

    def opened_meanwhile(*args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        monkeypatch.undo()
        yield from results(*args, **kwargs)  # type: ignore[arg-type]
        assert client.redrive(job.id) == 1

    monkeypatch.setattr(client.walk.outcomes, "results", opened_meanwhile)
    work(client, job, failing=["c"])
    eventually(lambda: job.status().state is JobState.PROCESSING and job.status().pending == 1)
    eventually(lambda: client.walk.publishing._value == 2)
    assert path.read_text() == "old\n"
    assert list(tmp_path.glob(".batchq-*")) == []
    work(client, job)
    assert ended(job) is JobState.COMPLETED
    assert len(path.read_text().splitlines()) == 3


def test_a_writer_that_died_is_followed_by_another_and_leaves_nothing_beside_the_file(
    client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    job = submit(client, Place(f"file://{path}", dict, keeps_others=False))
    (tmp_path / f".batchq-{job.id}-0123.part").write_text("half")
    (tmp_path / ".batchq-another-0123.part").write_text("not ours")
    work(client, job)
    assert ended(job) is JobState.COMPLETED
    assert [one.name for one in tmp_path.glob(".batchq-*")] == [".batchq-another-0123.part"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("results.jsonl", "is no URL"),
        ("file:///tmp/results", "does not tell the form"),
        ("https://example.com/results.jsonl", "web address"),
        (" ", "destination is empty"),
    ],
)
def test_what_is_no_destination_is_refused_before_anything_is_stored(
    client: Client, where: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        client.submit(["x"], operation="work", destination=where)
    assert list(client.list()) == []


def test_the_record_names_a_destination_without_its_secrets(client: Client) -> None:
    job = client.submit(["x"], operation="work", destination="postgresql://me:hidden@db.example/shop?table=t")
    assert job.status().destination["url"] == "postgresql://me:***@db.example/shop?table=t"
    assert "hidden" not in str(job.status().to_json())
