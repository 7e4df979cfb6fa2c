"""Jobs that programs without batchq submit and cancel by plain Celery messages."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fleet_kit import Fleet, eventually
from services_world import call, send

from batchq import Client, JobState
from batchq.errors import ConfigurationError, InputError
from batchq.flow.message_source import spec_of
from batchq.settings import Settings, load
from batchq.store.database import Database

SECRET = "walrus-umbrella-7731"  # stands in what is sent, and must not be seen in any log


def items(n: int, **fields: object) -> list[dict[str, object]]:
    return [{"id": f"i{number}", "input": {"n": number, **fields}} for number in range(n)]


def test_a_program_with_celery_alone_submits_follows_and_cancels(fleet: Fleet, client: Client) -> None:
    fleet.start()
    made, named, keyed, again = send(
        fleet.url,
        [
            call("batchq.submit", items=items(30), operation="work", metadata={"by": "billing"}),
            call("batchq.submit", items=items(1, ms=60_000), operation="work", job_id="slow-one"),
            call("batchq.submit", items=items(5), operation="work", idempotency_key="nightly"),
            call("batchq.submit", items=items(5), operation="work", idempotency_key="nightly"),
        ],
    )
    record = client.wait(made["result"], 30)
    assert (record.state, record.succeeded) == (JobState.COMPLETED, 30)
    assert record.metadata == {"by": "billing"}
    assert [result.data for result in client.results(made["result"])] == [{"answer": n} for n in range(30)]
    assert named["result"] == "slow-one"
    assert keyed["result"] == again["result"]

    first, second, gone, ended = send(
        fleet.url,
        [
            call("batchq.cancel", job_id="slow-one"),
            call("batchq.cancel", job_id="slow-one"),
            call("batchq.cancel", job_id="nobody"),
            call("batchq.cancel", job_id=made["result"]),
        ],
    )
    assert (first["result"], second["result"]) == (True, False)
    assert client.status("slow-one").state is JobState.CANCELLED
    assert (gone["error"], ended["error"]) == ("NotFound", "Conflict")
    assert "already" in ended["message"]


BAD = {
    "no items": ({"operation": "work"}, "items must be a list"),
    "an empty list": ({"items": [], "operation": "work"}, "holds no item"),
    "one text for a list": ({"items": SECRET, "operation": "work"}, "items must be a list"),
    "too many": ({"items": ["x"] * 1_001}, "up to 1,000"),
    "too much": ({"items": ["x" * 1_400_000] * 3}, "more than 4 MB"),
    "a source anywhere": ({"source": "s3://bucket/list.jsonl"}, "workers' BATCHQ_SOURCES"),
    "a source here": ({"source": "/etc/hostname"}, "no BATCHQ_FILE_ROOTS"),
    "a destination": ({"items": items(1), "destination": "s3://bucket/o.jsonl"}, "BATCHQ_DESTINATIONS"),
    "a word for yes": ({"items": items(1), "all_or_nothing": "yes"}, "true or false"),
    "two sources": ({"items": items(1), "source": "s3://bucket/list.jsonl"}, "not both"),
    "an unknown operation": ({"items": items(1), "operation": "wrok"}, "wrok"),
    "an unknown argument": ({"items": items(1), "operation": "work", "modle": "m"}, "did you mean 'model'"),
    "a wrong type": ({"items": items(1), "operation": "work", "priority": "high"}, "priority must be"),
    "priority out of range": ({"items": items(1), "operation": "work", "priority": 11}, "between 1 and 10"),
    "both names": (
        {"items": items(1), "operation": "work", "job_id": "a", "idempotency_key": "b"},
        "not both",
    ),
    "a forged job id": ({"items": items(1), "operation": "work", "job_id": f"}} {SECRET}"}, "job id"),
    "a double id": ({"items": [*items(1), *items(1)], "operation": "work"}, "ids must differ"),
    "no item": ({"items": [{"promt": SECRET}, 7, None], "operation": "work"}, "item 2"),
    "a deadline in the past": (
        {"items": items(1), "operation": "work", "deadline": 1},
        "deadline has passed",
    ),
    "an endless deadline": (
        {"items": items(1), "operation": "work", "deadline": float("inf")},
        "deadline must be",
    ),
}


def test_a_bad_submission_tells_its_sender_and_changes_nothing(
    fleet: Fleet, client: Client, database: Database
) -> None:
    fleet.start()
    answers = send(fleet.url, [call("batchq.submit", **payload) for payload, _ in BAD.values()])
    for (case, (_, told)), answer in zip(BAD.items(), answers, strict=True):
        assert answer.get("error") == "InputError" or case == "an unknown operation", (case, answer)
        assert told in answer["message"], case
        assert "Traceback" not in answer["message"], case
    assert list(client.list()) == []
    assert [key for key in database.command("KEYS", "batchq:{*") if b"{" in key] == []
    logs = fleet.logs()
    assert logs.count("is refused: ") == len(BAD)
    assert SECRET not in logs
    assert "Traceback" not in logs


def test_the_same_id_with_other_content_is_a_conflict(fleet: Fleet, client: Client) -> None:
    fleet.start()
    first, second = send(
        fleet.url,
        [
            call("batchq.submit", items=items(1), operation="work", job_id="mine"),
            call("batchq.submit", items=items(2), operation="work", job_id="mine"),
        ],
    )
    assert first["result"] == "mine"
    assert second["error"] == "Conflict"
    assert client.status("mine").total == 1


def test_a_message_delivered_twice_makes_one_job(fleet: Fleet, client: Client) -> None:
    fleet.start()
    task_id = f"twice-{time.time()}"
    message = {**call("batchq.submit", items=items(3), operation="work"), "task_id": task_id}
    first, second = send(fleet.url, [message, message])
    assert first["result"] == second["result"]
    client.wait(first["result"], 30)
    assert len(list(client.list())) == 1
    assert fleet.calls().total() == 3


def test_a_submission_whose_worker_is_killed_is_taken_up_by_another(
    fleet: Fleet, client: Client, database: Database
) -> None:
    """The broker gives the message out again when its visibility timeout has passed (made to pass here)."""
    hold = fleet.folder / "hold"
    hold.touch()
    fleet.extra |= {
        "SERVICES_HOLD": str(hold),
        "BATCHQ_INCLUDE": "fleet_operations,services_operations",
        "PYTHONPATH": os.pathsep.join((fleet.environment["PYTHONPATH"], str(Path(__file__).parent))),
    }
    doomed = fleet.start()
    fleet.send("batchq.submit", items=items(3), operation="work", job_id="held")
    eventually(lambda: "submission " in fleet.calls_file.read_text())
    doomed.kill()
    doomed.wait()
    hold.unlink()
    fleet.start()
    database.command("ZADD", "batchq:unacked_index", "XX", 1, *_only(database))
    eventually(lambda: list(client.list()))
    assert client.wait("held", 30).succeeded == 3


def _only(database: Database) -> list[bytes]:
    tags: list[bytes] = database.command("HKEYS", "batchq:unacked")
    assert len(tags) == 1
    return tags


@pytest.mark.parametrize("roots", [True, False])
def test_files_are_read_under_the_workers_file_roots_only(fleet: Fleet, client: Client, roots: bool) -> None:
    inside, outside = fleet.folder / "in", fleet.folder / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "note.txt").write_text("words")
    (inside / "link.txt").symlink_to(outside / "note.txt")
    if roots:
        fleet.extra["BATCHQ_FILE_ROOTS"] = str(inside)
    fleet.start()
    named = ["note.txt", "link.txt", "../out/note.txt", str(outside / "note.txt"), "/etc/hostname"]
    (made,) = send(
        fleet.url,
        [call("batchq.submit", items=[{"id": name, "file": name} for name in named], operation="work")],
    )
    client.wait(made["result"], 30)
    found = {result.id: result.error and result.error.status for result in client.results(made["result"])}
    assert found == {
        "note.txt": None if roots else "FILE_OUTSIDE_ROOTS",
        **dict.fromkeys(named[1:], "FILE_OUTSIDE_ROOTS"),
    }


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a small web server's root; of tmp_path/web."""
    (tmp_path / "web" / "lists").mkdir(parents=True)
    handler = partial(Quiet, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_message_may_name_its_list_where_the_workers_settings_allow_it(
    fleet: Fleet, client: Client, web: str
) -> None:
    inside = fleet.folder / "in"
    inside.mkdir()
    (inside / "list.jsonl").write_text(lines(*items(2)))
    (fleet.folder / "web" / "secret.jsonl").write_text(lines(*items(1)))
    # there is one in the worker's own folder, which is nobody's to read
    rows = [*items(1_100), {"id": "file", "file": "pyproject.toml"}]
    (fleet.folder / "web" / "lists" / "long.jsonl").write_text(lines(*rows))
    fleet.extra |= {"BATCHQ_FILE_ROOTS": str(inside), "BATCHQ_SOURCES": f"{web}lists"}
    fleet.start()

    good = [f"{web}lists/long.jsonl", "list.jsonl", (inside / "list.jsonl").as_uri()]
    bad = {
        f"{web}secret.jsonl": "BATCHQ_SOURCES",
        f"{web}lists/none.jsonl": "there is no file",
        "../web/secret.jsonl": "outside",
    }
    calls = [call("batchq.submit", source=source, operation="work") for source in (*good, *bad)]
    answers = send(fleet.url, calls)
    for (source, told), answer in zip(bad.items(), answers[len(good) :], strict=True):
        assert answer.get("error") == "InputError", (source, answer)
        assert told in answer["message"], source
    long, *short = [answer["result"] for answer in answers[: len(good)]]
    assert [client.wait(job_id, 30).succeeded for job_id in short] == [2, 2]
    assert client.status(long).total == 1_101
    (letter,) = client.dead_letters(long)
    assert (letter.id, letter.reason) == ("file", "FILE_UNREADABLE")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("https://data.example/lists-too/a.jsonl", "BATCHQ_SOURCES"),
        ("https://data.example/lists/../secret.jsonl", "BATCHQ_SOURCES"),
        ("https://data.example/lists/%2E%2e/secret.jsonl", "BATCHQ_SOURCES"),
        ("https://data.example/lists/..%5csecret.jsonl", "BATCHQ_SOURCES"),
        ("https://data.example@evil.example/lists/a.jsonl", "BATCHQ_SOURCES"),
        ("HTTPS://data.example/lists/a.jsonl", "BATCHQ_SOURCES"),
        ("simplecache::https://data.example/lists/a.jsonl", "BATCHQ_SOURCES"),
        ("https://data.example/lists/a.zip::https://evil.example/b", "BATCHQ_SOURCES"),
        ("sqlite:////etc/some.db", "BATCHQ_SOURCES"),
        ("file:///etc/hostname", "outside"),
        ("file://elsewhere/etc/hostname", "names the machine"),
        ("/etc/hostname", "outside"),
        ("../secret.jsonl", "outside"),
        ("", "name a file"),
    ],
)
def test_a_message_may_name_no_other_list(source: str, told: str, tmp_path: Path) -> None:
    settings = Settings(file_roots=(tmp_path / "in",), sources=("https://data.example/lists",))
    assert spec_of("https://data.example/lists/a.jsonl", None, settings).apart
    with pytest.raises(InputError, match=told):
        spec_of(source, None, settings)


@pytest.mark.parametrize("beginning", ["data.example/", "https://", "file:///data/", "/data"])
def test_sources_are_beginnings_of_addresses(beginning: str) -> None:
    with pytest.raises(ConfigurationError, match="no beginning of an address"):
        load(sources=(beginning,))
