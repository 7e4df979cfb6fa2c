"""From a stream of items to a sealed job, or to a refusal that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pdf_kit import made
from pydantic import BaseModel

from batchq import (
    Client,
    Conflict,
    Fatal,
    InputError,
    Item,
    NotEnoughMemory,
    NotFound,
    NoWorkerWarning,
    StoreUnavailable,
    WaitTimeout,
)
from batchq.core.lifecycle import ItemState, JobState
from batchq.embedded import EmbeddedServer
from batchq.errors import Complaint
from batchq.flow import shard_writer
from batchq.flow.heal import sweep
from batchq.flow.submission import FilesMode, Submission
from batchq.formats import InputSpec, read
from batchq.formats.given import given_items
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.wiring import Place


@pytest.fixture
def client(server: EmbeddedServer, database: Database) -> Iterator[Client]:
    with Client(place=Place(Settings(redis_url=server.url), embedded=True)) as client:
        yield client


def left_behind(database: Database) -> list[str]:
    """Keys of the store, queues aside."""
    return sorted(key.decode() for key in database.command("KEYS", "batchq:*"))


def test_a_submission_is_in_no_list_before_its_last_item_is_stored(client: Client) -> None:
    seen: list[int] = []

    def rows() -> Iterator[str]:
        for number in range(450):
            if number == 449:
                seen.append(len(list(client.list())))
            yield f"prompt {number}"

    job = client.submit(rows())
    assert seen == [0]
    (record,) = client.list()
    assert (record.id, record.state, record.total, record.pending) == (job.id, JobState.PENDING, 450, 450)
    assert [change.change for change in record.history] == ["submitted"]


def test_every_shape_of_an_item_of_a_python_caller_is_taken(client: Client) -> None:
    rows = ["plain", ("named", "prompt"), {"id": "d", "prompt": "p"}, Item("i", {"prompt": "q"})]
    job = client.submit(rows)
    stored = list(client.walk.outcomes.results(job.id, lanes=1))
    assert [one.id for one in stored] == ["00000001", "named", "d", "i"]
    assert [one.input["prompt"] for one in stored] == ["plain", "prompt", "p", "q"]


def test_the_same_key_gives_the_same_job_and_other_content_is_a_conflict(client: Client) -> None:
    first = client.submit(["a", "b"], idempotency_key="nightly")
    again = client.submit(["a", "b"], idempotency_key="nightly")
    assert first.id == again.id
    assert len(list(client.list())) == 1
    with pytest.raises(Conflict, match="other content or options"):
        client.submit(["a", "c"], idempotency_key="nightly")
    with pytest.raises(Conflict, match="other content or options"):
        client.submit(["a", "b"], idempotency_key="nightly", model="gemini-2.5-flash")
    assert first.status().total == 2


def test_a_given_id_is_the_jobs_and_a_bad_one_is_refused(client: Client, database: Database) -> None:
    assert client.submit(["a"], job_id="mine-1").id == "mine-1"
    for bad in ("", "../x", "a b", "x" * 129, ".x", "a{b}"):
        with pytest.raises(InputError, match="job id"):
            client.submit(["a"], job_id=bad)
    with pytest.raises(InputError, match="not both"):
        client.submit(["a"], job_id="x", idempotency_key="y")
    assert [record.id for record in client.list()] == ["mine-1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"priority": 11}, "priority 11"),
        ({"rpm": 0}, "rpm 0"),
        ({"concurrency": -1}, "concurrency -1"),
        ({"deadline": 1.0}, "deadline has passed"),
        ({"schema": {"type": "nonsense"}}, "schema"),
        ({"options": {"temperature": 9}}, "temperature"),
        ({"options": {"no_such_option": 1}}, "no_such_option"),
        ({"options": "temperature"}, "options must be an object, not str"),
        ({"deadline": "x"}, "deadline must be a number, not str"),
        ({"deadline": float("nan")}, "deadline must be a finite number"),
        ({"rpm": 1.5}, "rpm must be a whole number, not float"),
        ({"metadata": {"x": object()}}, "metadata cannot be written as JSON"),
        ({"metadata": {"x": float("inf")}}, "metadata cannot be written as JSON"),
        ({"deadline": 1_900_000_000_000}, "deadline is after the year 9999.*not in milliseconds"),
        ({"not_before": 1_900_000_000_000}, "may begin is after the year 9999.*not in milliseconds"),
        ({"max_cost": 1e300}, "below a billion"),
        ({"retention_s": -1}, "retention_s -1 must be above 0"),
        ({"retention_s": 1e16}, "at most a hundred years"),
        ({"idempotency_key": ""}, "idempotency_key is empty"),
        ({"model": " "}, "model is empty"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_stored(
    client: Client, database: Database, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        client.submit(["a"], **arguments)  # type: ignore[arg-type]
    assert left_behind(database) == []


def test_what_breaks_the_list_is_told_all_at_once_and_nothing_is_stored(
    client: Client, database: Database, tmp_path: Path
) -> None:
    lines = [f'{{"id": "i{number}", "prompt": "p"}}' for number in range(300)]
    lines[100] = "{broken"
    lines[200] = '{"id": "i7", "prompt": "again"}'
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as refused:
        client.submit(read(InputSpec(str(path))))
    assert [complaint.place for complaint in refused.value.complaints] == ["line 101", "line 201"]
    assert "i7" in str(refused.value)
    assert left_behind(database) == []


def test_only_the_first_twenty_faults_are_shown_and_all_are_counted(client: Client) -> None:
    with pytest.raises(InputError) as refused:
        client.submit(Complaint(f"line {number}", "bad JSON", number) for number in range(1, 51))
    assert (len(refused.value.complaints), refused.value.count) == (20, 50)
    assert "and 30 more" in str(refused.value)


def test_skip_bad_makes_them_failed_items(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"id": "a", "prompt": "p"}\n{broken\n{"id": "a", "prompt": "p"}\n{"id": "b", "prompt": "p"}\n'
    )
    job = client.submit(read(InputSpec(str(path))), skip_bad=True)
    record = job.status()
    assert (record.total, record.failed, record.pending, record.errors) == (4, 2, 2, {"BAD_LINE": 2})
    bad = [result for result in job.results() if result.status is ItemState.FAILED]
    assert [result.error.status for result in bad if result.error] == ["BAD_LINE", "BAD_LINE"]
    assert "line 2" in (bad[0].error.message if bad[0].error else "")


def test_a_bad_item_fails_alone_before_any_call_and_strict_refuses_it(
    client: Client, database: Database
) -> None:
    rows = [("good", "prompt"), ("empty", "  "), {"id": "odd", "prompt": 5}]
    with pytest.raises(InputError, match="sent and strict is set"):
        client.submit(rows, strict=True)
    assert left_behind(database) == []
    job = client.submit(rows)
    record = job.status()
    assert (record.failed, record.pending) == (2, 1)
    assert {result.id: result.status for result in job.results()} == {
        "empty": ItemState.FAILED,
        "odd": ItemState.FAILED,
    }


def test_a_line_of_an_unknown_operation_is_named_and_nothing_is_stored(
    client: Client, database: Database
) -> None:
    rows = [{"prompt": "a"}, {"prompt": "b", "operation": "summarise"}]
    with pytest.raises(InputError, match="item 2: there is no operation 'summarise'") as refused:
        client.submit(rows)
    assert [complaint.place for complaint in refused.value.complaints] == ["item 2"]
    assert left_behind(database) == []
    assert client.submit(rows, skip_bad=True).status().errors == {"BAD_LINE": 1}


def test_a_program_is_told_of_its_arguments_and_not_of_options(client: Client) -> None:
    with pytest.raises(InputError) as refused:
        client.submit([{"review": "fine"}, {"id": "a", "prompt": "p"}, {"id": "a", "prompt": "p"}])
    assert "or use skip_bad\n" in str(refused.value)
    assert "To make prompts of rows: prompt='{review}'" in str(refused.value)
    with pytest.raises(InputError) as refused:
        client.submit([{"text": "--strict"}], prompt="no field")
    assert "prompt has no {field}" in str(refused.value)


def test_a_request_for_another_model_than_the_jobs_fails_alone_and_is_listed(client: Client) -> None:
    request = {"contents": [{"parts": [{"text": "Why?"}]}]}
    rows = [
        {"id": "same", "request": {**request, "model": "models/gemini-2.5-flash"}},
        {"id": "none", "request": request},
        {"id": "other", "request": {**request, "model": "models/gemini-2.5-pro"}},
    ]
    accepted = client.accept(Submission(model="gemini-2.5-flash"), given_items(rows, None), preflight=False)
    assert [problem.place for problem in accepted.problems] == ["item 3"]
    assert "names model models/gemini-2.5-pro, but the job runs gemini-2.5-flash" in str(accepted.problems[0])
    record = client.status(accepted.job_id)
    assert (record.failed, record.pending, record.requests) == (1, 2, 0)


def test_a_program_that_waits_for_nobody_is_told_whom_to_start(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchq.flow.waiting.LONELY_S", 0)
    said = "no live worker consumes batchq.control, batchq.generate: start one with `batchq worker`"
    job = client.submit(["a"])
    with pytest.warns(NoWorkerWarning, match=said) as waited, pytest.raises(WaitTimeout):
        job.wait(timeout=0.5)
    assert len(waited) == 1
    threading.Timer(0.5, job.cancel).start()
    with pytest.warns(NoWorkerWarning, match=said):
        results = list(job.results(wait=True))
    assert [result.status for result in results] == [ItemState.CANCELLED]


def test_nothing_in_it_is_an_error(client: Client, database: Database) -> None:
    with pytest.raises(InputError, match="no item"):
        client.submit([])
    assert left_behind(database) == []


def test_a_model_that_is_refused_is_asked_before_anything_is_sealed(
    client: Client, database: Database
) -> None:
    def refuse(model: str) -> None:
        raise Fatal(f"no model {model}")

    from batchq.flow.submit import submit

    with pytest.raises(Fatal, match="no model nonsense"):
        submit(client.walk, Submission(model="nonsense"), [Item("a", {"prompt": "p"})], preflight=refuse)
    assert left_behind(database) == []


def test_a_killed_submitter_leaves_nothing_that_runs_and_is_swept_away(
    client: Client, server: EmbeddedServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import sys, time
from batchq import Client
def rows():
    for number in range(10_000):
        if number == 700:
            print("half", flush=True)
            time.sleep(60)
        yield f"prompt {number}"
Client(sys.argv[1]).submit(rows(), idempotency_key="k")
"""
    process = subprocess.Popen([sys.executable, "-c", code, server.url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(client.list()) == []
    (job_id,) = [key.split("{")[1].split("}")[0] for key in left_behind(database) if key.endswith(":job")]
    with pytest.raises(NotFound):
        client.status(job_id)
    now = database.server_ms()
    client.walk.jobs._db.now_ms = now + 31_000
    assert sweep(client.walk)
    client.walk.jobs._db.now_ms = None
    assert [key for key in left_behind(database) if job_id in key] == []


def test_a_repeated_submission_takes_over_from_a_dead_one_and_the_zombie_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchq.flow.submit.STALE_MS", 400)
    monkeypatch.setattr("batchq.flow.submit.BEAT_S", 60.0)
    half_way, go_on = threading.Event(), threading.Event()
    ended: list[BaseException | str] = []

    def rows() -> Iterator[str]:
        for number in range(900):
            if number == 300:
                half_way.set()
                assert go_on.wait(20)
            yield f"p{number}"

    def zombie() -> None:
        try:
            ended.append(client.submit(rows(), idempotency_key="k").id)
        except Conflict as exc:
            ended.append(exc)

    thread = threading.Thread(target=zombie)
    thread.start()
    assert half_way.wait(20)
    job = client.submit([f"p{number}" for number in range(900)], idempotency_key="k")
    go_on.set()
    thread.join(20)
    assert isinstance(ended[0], Conflict), "taken over"
    assert job.status().total == 900
    assert len(list(client.walk.outcomes.results(job.id, lanes=1))) == 900


def test_two_submitters_with_one_key_at_once_make_one_job(client: Client) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: ids.append(client.submit([f"p{n}" for n in range(500)], idempotency_key="same").id)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert client.status(ids[0]).total == 500


def test_a_submission_that_does_not_fit_into_memory_is_refused_with_the_figure(
    client: Client, database: Database
) -> None:
    used = int(database.command("INFO", "memory")["used_memory"])
    database.command("CONFIG", "SET", "maxmemory", str(used + 3_000_000))
    try:
        with pytest.raises(NotEnoughMemory, match=r"MB of its .* MB .*nothing was stored"):
            client.submit(os.urandom(20_000).hex() for _ in range(1_000))
    finally:
        database.command("CONFIG", "SET", "maxmemory", "0")
    assert left_behind(database) == []


def test_files_go_as_bytes_once_each_or_by_path(client: Client, database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text("same" if name != "c.txt" else "other")
    (folder / "empty.txt").touch()
    job = client.submit(list(read(InputSpec(str(folder)))), files="inline")
    keys = database.job_keys(job.id)
    assert database.command("HLEN", keys.files) == 2, "stored by digest"
    assert job.status().errors == {"FILE_EMPTY": 1}
    by_path = client.submit(list(read(InputSpec(str(folder)))), files="path")
    assert database.command("HLEN", database.job_keys(by_path.id).files) == 0
    first = next(client.walk.outcomes.results(by_path.id, lanes=1))
    assert first.input["file"]["path"] == str(folder / "a.txt")  # type: ignore[index]


def test_more_bytes_than_a_job_may_hold_are_refused_and_nothing_is_stored(
    client: Client, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_writer, "INLINE_LIMIT", 250)  # of 1 GB
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(f"{number}" * 100)
    (tmp_path / "same.txt").write_text("0" * 100)
    items = [item for item in read(InputSpec(str(tmp_path), glob="*.txt")) if isinstance(item, Item)]
    twice = [item for item in items if item.id in ("0.txt", "1.txt", "same.txt")]
    assert client.submit(twice).status().total == 3, "one content counts once"
    database.command("FLUSHALL")
    with pytest.raises(InputError, match="BATCHQ_FILE_ROOTS"):
        client.submit(items)
    assert left_behind(database) == []
    assert client.submit(items, files="path").status().total == 5


@pytest.mark.parametrize("mode", ["inline", "path"])
def test_a_file_that_cannot_be_sent_fails_at_submission_by_name(
    client: Client, tmp_path: Path, mode: FilesMode
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "a.txt").write_text("fine")
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    (folder / "c.pdf").write_bytes(made(cipher="AES-256", password="secret"))
    (folder / "d.txt").touch()
    (folder / "e.heic").write_bytes(b"\0\0\0\x18ftypheic")
    job = client.submit(list(read(InputSpec(str(folder)))), files=mode)
    bad = sorted(client.dead_letters(job_id=job.id), key=lambda letter: letter.id)
    assert [(one.id, one.reason, one.attempts) for one in bad] == [
        ("b.png", "FILE_UNREADABLE", 0),
        ("c.pdf", "FILE_UNREADABLE", 0),
        ("d.txt", "FILE_EMPTY", 0),
        ("e.heic", "FILE_UNREADABLE", 0),
    ]
    assert all(one.id in one.error.message for one in bad)
    assert "locked with a password" in bad[1].error.message
    assert job.status().pending == 1
    with pytest.raises(InputError, match="strict is set"):
        client.submit(list(read(InputSpec(str(folder)))), files=mode, strict=True)


def test_the_schema_may_be_a_pydantic_model(client: Client) -> None:
    class Sort(BaseModel):
        topic: str
        urgent: bool | None = None

    job = client.submit(["one"], schema=Sort)
    assert client.walk.spec(job.id).schema == Sort.model_json_schema()
    with pytest.raises(InputError, match="Client is no Pydantic model"):
        client.submit(["one"], schema=Client)  # type: ignore[arg-type]


def test_no_server_is_said_so_and_quickly() -> None:
    started = time.monotonic()
    place = Place(Settings(redis_url="redis://127.0.0.1:1/0"), embedded=False)
    with Client(place=place) as client, pytest.raises(StoreUnavailable, match=r"127.0.0.1:1/0"):
        client.submit(["a"])
    assert time.monotonic() - started < 10


def test_submitting_keeps_one_shard_in_memory(client: Client) -> None:
    import tracemalloc

    def rows(n: int) -> Iterator[tuple[str, str]]:
        for number in range(n):
            yield f"item-{number}", f"{number} " * 100

    def peak(n: int) -> int:
        tracemalloc.start()
        client.submit(rows(n))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(500)
    small, large = peak(2_000), peak(20_000)
    assert large - small < 200_000, "nothing grows with the input"
