"""batchq run, whole: a real server, real workers, real signals.

A session of workers takes seconds to begin and to end, most of them waiting, so these are scenes, see scenes.py.
"""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from cli_world import House, wait_until
from scenes import scene

from batchq import Client, embedded
from batchq.emulator import Emulator, expected_text
from batchq.settings import Settings
from batchq.store.database import Database

QUICK = {
    "BATCHQ_HEARTBEAT_S": "0.4",
    "BATCHQ_LEASE_S": "1.5",
    "BATCHQ_SWEEP_S": "0.2",
    "BATCHQ_UNDELIVERED_S": "1",
}


@scene
def test_a_run_takes_an_input_to_its_results_and_leaves_nothing_behind(house: House) -> None:
    house.file("workers/__init__.py", "raise SystemExit('a foreign package of the same name was run')")
    house.file("questions.txt", "one\ntwo\n")

    run = house.run("run", "questions.txt", "-o", "answers.jsonl", "--json")

    assert run.process.returncode == 0, run.err
    answers = [json.loads(line) for line in (house.folder / "answers.jsonl").read_text().splitlines()]
    told = [answer["response"]["candidates"][0]["content"]["parts"][0]["text"] for answer in answers]
    assert told == [expected_text("one"), expected_text("two")]
    assert run.json["state"] == "completed"
    assert (run.json["total"], run.json["succeeded"]) == (2, 2)
    assert run.json["results"] == "answers.jsonl"
    for said in ("server: embedded", "local emulator", "1 local worker", "2 succeeded", "p95", "list prices"):
        assert said in run.err, said
    assert house.left_behind() == []
    listed = house.run("list", "--json").json
    assert listed["slowest"] == run.json["slowest"]
    assert {one["id"] for one in listed["slowest"]} == {"00000001", "00000002"}


@scene
def test_a_run_with_failed_items_ends_with_3_and_shows_one_of_each_kind(house: House) -> None:
    house.file("words.txt", "good\nbad\nworse\nbad again\n")

    run = house.run("run", "words.txt", "--operation", "shout")

    assert run.process.returncode == 3, run.err
    assert "4: 2 succeeded, 2 failed" in run.err
    assert "2 × ValueError, such as 0000000" in run.err
    assert "cannot \ufffd[31mshout" in run.err
    assert "\x1b[31m" not in run.err
    assert "batchq dlq list" in run.err
    assert "emulator" not in run.err  # it asks no provider
    [results] = (house.folder / "batchq-out").iterdir()
    assert f"batchq-out/{results.name}" in run.err
    assert [json.loads(line)["batchq"]["status"] for line in results.read_text().splitlines()] == [
        "succeeded",
        "failed",
        "succeeded",
        "failed",
    ]


@scene
def test_a_run_that_is_all_or_nothing_ends_with_4_and_touches_no_file(house: House) -> None:
    house.file("words.txt", "good\nbad\n")
    out = house.file("out.jsonl", "old\n")

    run = house.run(
        "run", "words.txt", "--operation", "shout", "--all-or-nothing", "-o", "out.jsonl", "--json"
    )

    assert run.process.returncode == 4, run.err
    assert "failed: all or nothing: 1 of 2 items did not succeed" in run.err
    assert "batchq dlq redrive" in run.err
    assert out.read_text() == "old\n"
    assert (run.json["state"], run.json["results"]) == ("failed", None)
    told = house.run("results", run.json["id"], "-o", "out.jsonl")
    assert told.process.returncode == 1
    assert "there are no results" in told.err
    assert out.read_text() == "old\n"


@scene
def test_the_readmes_own_operation_runs_as_it_stands(house: House) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [module] = re.findall(r"```python\n(# shouting\.py\n.*?)```", readme, re.DOTALL)
    [command] = re.findall(r"BATCHQ_INCLUDE=shouting batchq (.*)", readme)
    house.file("shouting.py", module)
    house.file("lines.txt", "one\ntwo\n")

    run = house.run(*command.split(), BATCHQ_INCLUDE="shouting")

    assert run.process.returncode == 0, run.err
    answers = [json.loads(line)["response"]["output"] for line in run.out.splitlines()]
    assert answers == [{"loud": "ONE"}, {"loud": "TWO"}]


@scene
def test_what_cannot_be_sent_is_no_attempt_and_no_request(house: House) -> None:
    house.file("scans/good.txt", "text")
    changed = house.file("scans/changed.txt", "before")
    (house.folder / "scans/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (house.folder / "scans/cut.pdf").write_bytes(b"%PDF-1.7\n1 0 obj")
    command = ("submit", "scans", "--prompt", "Describe", "--files", "path", "--rpm", "600")
    url = embedded.start(house.data_dir / "server").url
    job_id = house.run(*command, BATCHQ_REDIS_URL=url).out.strip()
    changed.write_text("after!")

    with Emulator() as emulator:
        address = {"GOOGLE_GEMINI_BASE_URL": emulator.url, "GEMINI_API_KEY": "k"}
        roots = {"BATCHQ_FILE_ROOTS": str(house.folder / "scans"), "BATCHQ_REDIS_URL": url}
        resumed = ("run", "--resume", job_id, "--workers", "1", "-o", "out.jsonl", "--json")
        run = house.run(*resumed, **address, **roots)
        asked = sum(call["method"] == "generateContent" for call in emulator.calls())

    assert run.process.returncode == 3, run.err
    lines = [json.loads(line) for line in (house.folder / "out.jsonl").read_text().splitlines()]
    assert {line["key"]: line["batchq"]["attempts"] for line in lines} == {
        "changed.txt": 0,
        "cut.pdf": 0,
        "cut.png": 0,
        "good.txt": 1,
    }
    assert asked == run.json["requests"] == 1
    assert run.json["errors"] == {"FILE_CHANGED": 1, "FILE_UNREADABLE": 2}


@scene
def test_ctrl_c_lets_calls_end_and_the_same_command_goes_on_with_the_job(house: House) -> None:
    house.file("words.txt", "a\nb\nc\n")
    command = ("run", "words.txt", "--operation", "gated", "--concurrency", "1", "-o", "out.jsonl")
    first = house.start(*command)
    wait_until(lambda: house.marks("began-*"))

    first.process.send_signal(signal.SIGINT)
    first.says("stopping")
    house.opened()

    assert first.wait() == 130, first.err
    assert "batchq run --resume" in first.err
    assert "Traceback" not in first.err
    assert not (house.folder / "out.jsonl").exists()
    assert house.left_behind() == []

    second = house.run(*command)
    assert second.process.returncode == 0, second.err
    assert "going on with it" in second.err
    assert "3 succeeded" in second.err
    assert house.marks("began-*") == 3, "an item was called twice"
    assert len((house.folder / "out.jsonl").read_text().splitlines()) == 3


@scene
def test_ctrl_c_on_a_terminal_gives_back_all_that_was_not_begun(house: House) -> None:
    house.file("words.txt", "".join(f"{number}\n" for number in range(300)))
    run = house.start_on_a_terminal("run", "words.txt", "--operation", "gated")
    job_id = wait_until(lambda: re.search(r"job (\S+): 300 items", run.err))[1]
    wait_until(lambda: house.marks("began-*"))
    wait_until(
        lambda: house.run("status", job_id, "--json").json["processing"] > 100
    )  # more than there are slots

    run.type(b"\x03")
    run.says("go on with the job")
    house.opened()

    assert run.wait() == 130, run.err
    begun = house.marks("began-*")
    record = house.run("status", job_id, "--json").json
    assert (record["processing"], record["succeeded"]) == (0, begun), "items are left in flight"
    assert record["pending"] == 300 - begun
    assert house.left_behind() == []


@scene
def test_a_second_ctrl_c_ends_everything_at_once(house: House) -> None:
    house.file("words.txt", "a\n")
    run = house.start("run", "words.txt", "--operation", "gated", BATCHQ_GRACE_S="60")
    wait_until(lambda: house.marks("began-*"))

    run.process.send_signal(signal.SIGINT)
    run.says("go on with the job")
    assert run.process.poll() is None  # it waits for the call
    run.process.send_signal(signal.SIGINT)

    assert run.wait(timeout=10) == 130, run.err
    assert house.left_behind() == []


@scene
def test_sigterm_ends_a_run_in_good_order(house: House) -> None:
    house.file("words.txt", "a\n")
    run = house.start("run", "words.txt", "--operation", "gated")
    wait_until(lambda: house.marks("began-*"))

    run.process.send_signal(signal.SIGTERM)
    run.says("stopping")
    house.opened()

    assert run.wait() == 143, run.err
    assert house.left_behind() == []


@scene
def test_a_killed_run_takes_its_workers_and_emulator_with_it(house: House) -> None:
    house.file("lines.jsonl", '{"prompt": "a", "operation": "loyal"}\n')
    run = house.start("run", "lines.jsonl")
    wait_until(lambda: house.marks("began-*"))
    assert len(house.left_behind()) == 2

    run.kill()

    wait_until(lambda: not house.left_behind(), within_s=15)
    assert house.marks("answered") == 1, "the emulator ended before the call that was under way"


@scene
def test_a_worker_that_cannot_start_is_told_with_the_end_of_its_log(house: House) -> None:
    house.file("words.txt", "a\n")
    house.file("no-workers", "")

    run = house.run("run", "words.txt", "--operation", "shout")

    assert run.process.returncode == 1, run.err
    assert "a local worker could not start" in run.err
    assert "these workers shall not start" in run.err
    assert house.left_behind() == []


@scene
def test_a_worker_that_dies_under_an_item_is_started_again(house: House) -> None:
    house.file("words.txt", "a\nb\n")

    run = house.run("run", "words.txt", "--operation", "deadly", **QUICK)

    assert run.process.returncode == 0, run.err
    assert "a local worker died (killed by SIGKILL" in run.err
    assert "2 succeeded" in run.err


@scene
def test_a_job_cancelled_by_somebody_else_ends_a_run_with_4(house: House) -> None:
    house.file("words.txt", "a\nb\n")
    run = house.start("run", "words.txt", "--operation", "gated", "--concurrency", "1", "-o", "out.jsonl")
    wait_until(lambda: house.marks("began-*"))

    job_id = run.err.split("job ")[1].split(":")[0]
    cancelled = house.run("cancel", job_id)
    house.opened()

    assert cancelled.process.returncode == 0, cancelled.err
    assert run.wait() == 4, run.err
    assert "1 succeeded, 1 cancelled" in run.err


@scene
def test_a_run_that_every_call_refuses_is_paused_and_goes_on_when_the_cause_is_gone(house: House) -> None:
    house.file("questions.txt", "one\ntwo\nthree\nfour\n")
    with Emulator() as emulator:
        address = {"GOOGLE_GEMINI_BASE_URL": emulator.url}
        refused = house.run("run", "questions.txt", "--no-preflight", **address, GEMINI_API_KEY="bad-key")
        assert refused.process.returncode == 5, refused.err
        assert "API key not valid" in refused.err
        assert "go on when the cause is gone: batchq run --resume 2" in refused.err

        run = house.run("run", "questions.txt", "--no-preflight", **address, GEMINI_API_KEY="good")
    assert run.process.returncode == 0, run.err
    assert "is resumed" in run.err
    assert "4 succeeded" in run.err


@scene
def test_on_a_configured_server_a_run_waits_for_the_fleet(house: House) -> None:
    house.file("words.txt", "a\n")
    url = embedded.start(house.data_dir / "server").url
    run = house.start("run", "words.txt", "--operation", "shout", "-o", "-", BATCHQ_REDIS_URL=url)
    run.says(f"no live worker consumes {house.namespace}.control, {house.namespace}.shout")

    worker = house.start(
        "worker", "-c", "4", BATCHQ_REDIS_URL=url, GOOGLE_GEMINI_BASE_URL="http://127.0.0.1:9"
    )

    assert run.wait() == 0, run.err
    assert json.loads(run.out)["response"] == {"output": {"loud": "A"}}
    worker.process.send_signal(signal.SIGTERM)
    worker.wait()


@scene
def test_a_job_whose_files_local_workers_may_not_read_is_not_resumed(house: House) -> None:
    house.file("scans/a.txt", "text")
    house.file("schema.json", "{}")
    url = embedded.start(house.data_dir / "server").url
    command = ("submit", "scans", "--operation", "extract", "--schema", "schema.json", "--files", "path")
    job_id = house.run(*command, BATCHQ_REDIS_URL=url).out.strip()

    run = house.run("run", "--resume", job_id, "--workers", "1", BATCHQ_REDIS_URL=url)

    assert run.process.returncode == 2, run.err
    assert "local workers may not read" in run.err
    assert "BATCHQ_FILE_ROOTS" in run.err


@scene
def test_an_input_that_changed_makes_a_new_job(house: House) -> None:
    path = house.file("words.txt", "a\nb\n")
    stored = house.run("submit", "words.txt", "--operation", "shout")
    assert stored.process.returncode == 0, stored.err
    path.write_text("a\nb\nc\n")

    run = house.run("run", "words.txt", "--operation", "shout")

    assert run.process.returncode == 0, run.err
    assert "its input has changed since: this is a new job" in run.err
    assert "3 succeeded" in run.err


@scene
def test_an_unfinished_job_is_found_however_many_came_after_it(house: House) -> None:
    house.file("words.txt", "a\n")
    url = embedded.start(house.data_dir / "server").url
    first = house.run("submit", "words.txt", "--operation", "shout", BATCHQ_REDIS_URL=url).out.strip()
    database = Database(url, house.namespace)
    with Client(settings=Settings(redis_url=url, namespace=house.namespace)) as client:
        ended = client.submit(["x"], preflight=False).id
        client.cancel(ended)
    later = [f"later-{number}" for number in range(600)]
    record = database.job_keys(ended).job
    database.batch([("COPY", record, database.job_keys(one).job) for one in later])
    database.batch([("ZADD", database.keys.all, 4e12, one) for one in later])

    run = house.run("run", "words.txt", "--operation", "shout", "--workers", "1", BATCHQ_REDIS_URL=url)

    assert run.process.returncode == 0, run.err
    assert f"job {first}: going on with it" in run.err


@scene
def test_a_run_on_a_shared_server_says_that_its_workers_take_other_jobs_too(house: House) -> None:
    house.file("words.txt", "a\n")
    house.file("other.txt", "b\n")
    url = embedded.start(house.data_dir / "server").url
    house.run("submit", "other.txt", "--operation", "shout", BATCHQ_REDIS_URL=url)
    pinned = house.run("submit", "other.txt", "--operation", "generate", BATCHQ_REDIS_URL=url).out.strip()
    with Client(settings=Settings(redis_url=url, namespace=house.namespace)) as client:
        client.pin(pinned, "somebody-else")

    provider = {"GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9"}  # so that its workers serve `generate` too
    command = ("run", "words.txt", "--operation", "shout", "--workers", "1")
    run = house.run(*command, BATCHQ_REDIS_URL=url, **provider)

    assert run.process.returncode == 0, run.err
    assert "1 other open job on this server may go to any worker" in run.err


@scene
def test_a_run_on_the_emulator_leaves_the_jobs_of_others_to_a_worker_of_theirs(house: House) -> None:
    house.file("mine.jsonl", '{"prompt": "a", "operation": "gated"}\n{"prompt": "b"}\n')
    url = embedded.start(house.data_dir / "server").url
    server = {"BATCHQ_REDIS_URL": url, **QUICK}
    with (
        Emulator() as emulator,
        Client(settings=Settings(redis_url=url, namespace=house.namespace)) as client,
    ):
        theirs = client.submit([f"{number}" for number in range(20)], preflight=False)
        run = house.start("run", "mine.jsonl", "--workers", "1", **server)
        mine = wait_until(lambda: re.search(r"job (\S+): 2 items", run.err))[1]
        wait_until(lambda: house.marks("began-*") and client.status(mine).succeeded)  # its emulator answers

        waiting = theirs.status()
        assert f"no live worker consumes {house.namespace}.generate: start one" in (waiting.reason or "")
        assert (waiting.pending, waiting.started_at) == (20, None)

        worker = house.start("worker", "-c", "4", GOOGLE_GEMINI_BASE_URL=emulator.url, **server)
        assert theirs.wait(90).succeeded == 20
        assert emulator.stats()["answered"] == 20, (
            "some were answered by the run's emulator, which lives still"
        )
        house.opened()
        assert run.wait() == 0, run.err
        assert "other open job" not in run.err
        worker.process.send_signal(signal.SIGTERM)
        worker.wait()
