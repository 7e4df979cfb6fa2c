"""Commands on stored jobs, called as the entry point calls them, on a real server. No worker lives here."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest
from cli_world import House, Terminal, wait_until
from scenes import scene

from batchq import Client
from batchq.store.fleet import Beat


@pytest.fixture
def job(house: House, batchq: Terminal) -> str:
    """A stored job of four items, two of which failed at submission."""
    house.file(
        "rows.jsonl", '{"id":"a","prompt":"x"}\n{"id":"b","prompt":""}\n{"id":"c"}\n{"id":"d","prompt":"y"}\n'
    )
    return batchq("submit", "rows.jsonl").out.strip()


def test_submit_prints_the_id_alone_and_tells_the_rest_on_stderr(house: House, batchq: Terminal) -> None:
    house.file("rows.jsonl", '{"prompt":"x"}\n{"prompt":""}\n')

    answer = batchq("submit", "rows.jsonl")

    assert answer.code == 0
    assert batchq("status", answer.out.strip()).code == 0
    assert "2 items" in answer.err
    assert "line 2: prompt is empty (EMPTY_PROMPT)" in answer.err
    assert f"no live worker consumes {house.namespace}.control, {house.namespace}.generate" in answer.err


def test_plan_tells_what_a_submission_would_be_and_stores_nothing(house: House, batchq: Terminal) -> None:
    house.file("rows.jsonl", '{"prompt":"x"}\n{"prompt":""}\n{"prompt":"y"}\n')

    answer = batchq("plan", "rows.jsonl", "--rpm", "1", "--max-cost", "0.00001")

    assert answer.code == 0
    for said in (
        "3 items, 1 of them",
        "2 to gemini-2.5-flash-lite",
        "is a guess",
        "about 2:00 min, by quota the job's own",
    ):
        assert said in answer.out, answer.out
    assert "would pause it after about" in answer.out
    assert "line 2: prompt is empty" in answer.err
    assert batchq("plan", "rows.jsonl", "--json").json["requests"] == 2
    assert batchq("list", "--json").out == ""


def test_a_cost_limit_is_raised_by_resume_and_none_is_set_on_a_job_without_one(
    house: House, batchq: Terminal, job: str
) -> None:
    house.file("words.txt", "a\n")
    limited = batchq("submit", "words.txt", "--max-cost", "1").out.strip()
    assert "cost limit  $1.00" in batchq("status", limited).out
    batchq("pause", limited)

    raised = batchq("resume", limited, "--max-cost", "2.5", "--json")

    assert (raised.code, raised.json["max_cost"], raised.json["state"]) == (0, 2.5, "pending")
    refused = batchq("resume", job, "--max-cost", "2.5")
    assert refused.code == 2
    assert "without a cost limit" in refused.err
    for senseless in ("0", "nan", "inf"):
        assert batchq("submit", "words.txt", "--max-cost", senseless).code == 2


def test_a_job_may_wait_for_its_time_and_name_a_destination_of_the_fleet(
    house: House, batchq: Terminal
) -> None:
    house.file("words.txt", "a\n")

    waiting = batchq("submit", "words.txt", "--at", "+2h", "-o", "file:///shared/out.csv", "--json").json

    assert waiting["state"] == "pending"
    assert waiting["reason"].startswith("not before 20")
    assert 7_000 < waiting["not_before"] - waiting["created_at"] < 7_300
    assert waiting["destination"]["state"] == "waiting"
    shown = batchq("status", waiting["id"]).out
    assert "not before" in shown
    assert "waiting" in shown
    late = batchq("submit", "words.txt", "--at", "2020-01-01T06:00+01:00", "--json")
    assert late.json["not_before"] == 1_577_854_800
    assert late.json["reason"].startswith("no live worker"), "it waits for no time"
    assert "that time has passed, and the job begins at once" in late.err
    refused = batchq("submit", "words.txt", "-o", "out.csv")
    assert refused.code == 2
    assert "is no URL" in refused.err
    for senseless in ("soon", "99999999d"):
        assert batchq("submit", "words.txt", "--at", senseless).code == 2


def test_a_run_whose_job_of_all_or_nothing_was_cancelled_ends_with_4_and_writes_nothing(
    house: House, batchq: Terminal
) -> None:
    house.file("words.txt", "a\n")
    job = batchq("submit", "words.txt", "--all-or-nothing").out.strip()
    batchq("cancel", job)
    before = signal.getsignal(signal.SIGINT)

    ended = batchq("run", "--resume", job, "--workers", "0", "-o", "out.jsonl")

    assert ended.code == 4, ended.err
    assert not (house.folder / "out.jsonl").exists()
    assert signal.getsignal(signal.SIGINT) is before, "the program around it would be deaf to Ctrl-C"


def test_submit_json_is_the_record_with_all_options(house: House, batchq: Terminal) -> None:
    house.file("words.txt", "a\n")
    house.file("schema.json", '{"type": "object"}')

    answer = batchq(
        *("submit", "words.txt", "--json", "--model", "gemini-2.5-pro", "--schema", "schema.json"),
        *("--option", "temperature=0.5", "--option", 'stop_sequences=["END"]', "--rpm", "60"),
        *("--concurrency", "3", "--priority", "9", "--deadline", "2h", "--prompt", "Say {text}"),
    )

    record = answer.json
    assert record["model"] == "gemini-2.5-pro"
    assert record["options"] == {"temperature": 0.5, "stop_sequences": ["END"]}
    assert (record["rpm"], record["concurrency"], record["priority"]) == (60, 3, 9)
    assert record["deadline"] == pytest.approx(time.time() + 7_200, abs=60)
    assert record["metadata"]["source"] == "words.txt"


def test_the_same_idempotency_key_gives_the_same_job(house: House, batchq: Terminal) -> None:
    house.file("words.txt", "a\n")
    command = ("submit", "words.txt", "--idempotency-key", "nightly")

    first, second = batchq(*command), batchq(*command)

    assert first.out == second.out
    assert "submitted before" in second.err


def test_submit_tells_the_quota_that_binds_and_the_expected_end(house: House, batchq: Terminal) -> None:
    house.file("words.txt", "a\n" * 10)
    with Client() as client:
        client.walk.fleet.beat(
            Beat("one", "here", 1, 5, ("control", "generate"), "gevent", "1", "p"), 4_000, 15_000
        )

    own = batchq("submit", "words.txt", "--rpm", "2").err

    assert "quota: the job's own, 2 requests a minute" in own
    assert re.search(r"expected end: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, in 5", own)
    assert "no live worker" not in own
    assert "quota:" not in batchq("submit", "words.txt").err  # none is known


def test_the_record_shows_the_users_metadata_only_and_no_noise_of_floats(batchq: Terminal, job: str) -> None:
    assert batchq("status", job, "--json").json["metadata"] == {"source": "rows.jsonl"}
    assert "run" not in batchq("status", job, "--json").json


def test_the_history_of_a_cancelled_job_says_what_happened(batchq: Terminal, job: str) -> None:
    batchq("pause", job)
    batchq("resume", job)
    batchq("cancel", job)
    lines = [(one["change"], one["why"]) for one in batchq("status", job, "--json").json["history"]]
    assert lines[1:] == [
        ("paused", "paused by a person"),
        ("resumed", "held no more"),
        ("cancelled", "nothing more goes out"),
        ("ended", "nothing is in flight any more"),
    ]


def test_redriving_where_nothing_is_dead_asks_nothing(batchq: Terminal, house: House) -> None:
    house.file("words.txt", "a\n")
    batchq("submit", "words.txt")
    answer = batchq("dlq", "redrive", "--json")
    assert (answer.code, answer.json) == (0, {"redriven": 0, "skipped": 0})


def test_status_shows_the_record_and_its_history(batchq: Terminal, job: str) -> None:
    shown = batchq("status", job, "--history")
    assert "4: 2 failed, 2 pending" in shown.out
    assert "EMPTY_PROMPT, such as b: prompt is empty" in shown.out
    assert "submitted" in shown.out

    record = batchq("status", job, "--json").json
    assert (record["total"], record["failed"], record["pending"]) == (4, 2, 2)


def test_a_job_is_paused_resumed_cancelled_and_deleted(batchq: Terminal, job: str) -> None:
    refused = batchq("delete", job)
    assert (refused.code, "cancel it first" in refused.err) == (1, True)
    assert batchq("pause", job, "--why", "tea", "--json").json["reason"] == "tea"
    assert batchq("watch", job).code == 5
    assert "was paused already" in batchq("pause", job).err
    assert batchq("resume", job, "--json").json["state"] == "pending"
    assert batchq("cancel", job, "--json").json["cancelled"] == 2
    assert batchq("watch", job).code == 4
    assert "was cancelled already" in batchq("cancel", job).err or batchq("cancel", job).code == 1
    assert batchq("delete", job, "--json").json == {"id": job, "deleted": True}
    gone = batchq("status", job)
    assert gone.code == 1
    assert f"no job {job}" in gone.err


def test_list_shows_jobs_newest_first_by_state(batchq: Terminal, job: str) -> None:
    other = batchq("submit", "rows.jsonl", "--priority", "1").out.strip()
    batchq("cancel", job)

    assert [record["id"] for record in batchq("list", "--json").json_lines] == [other, job]
    assert [record["id"] for record in batchq("list", "--state", "cancelled", "--json").json_lines] == [job]
    assert [record["id"] for record in batchq("list", "--limit", "1", "--json").json_lines] == [other]
    shown = batchq("list").out
    assert shown.index(other) < shown.index(job)
    assert "rows.jsonl" in shown


def test_results_of_a_running_job_say_how_many_of_how_many(house: House, batchq: Terminal, job: str) -> None:
    answer = batchq("results", job)
    assert [line["key"] for line in answer.json_lines] == ["b", "c"]
    assert (
        answer.err
        == f"job {job} is pending: 2 of 4 items are settled; --wait writes the others as they settle\n"
    )
    assert "2 of 4 items are settled" in batchq("results", job, "--only", "succeeded").err, (
        "and none is written"
    )

    batchq("cancel", job)
    assert [line["key"] for line in batchq("results", job, "--only", "cancelled").json_lines] == ["a", "d"]
    assert len(batchq("results", job, "--only", "unsuccessful").json_lines) == 4
    assert batchq("results", job, "--only", "succeeded").out == ""
    assert batchq("results", job, "--only", "sunny").code == 2

    written = batchq("results", job, "-o", "out.csv", "--json")
    assert written.json == {"job_id": job, "results": "out.csv", "count": 4}
    assert len((house.folder / "out.csv").read_text().splitlines()) == 5


def test_dead_letters_are_listed_shown_exported_and_sent_back(
    house: House, batchq: Terminal, job: str
) -> None:
    listed = batchq("dlq", "list", job)
    assert [line.split("  ")[1:4] for line in listed.out.splitlines()] == [
        ["b", "failed", "EMPTY_PROMPT"],
        ["c", "failed", "EMPTY_PROMPT"],
    ]
    assert "2 dead letters" in listed.err
    assert [one["id"] for one in batchq("dlq", "list", job, "--id", "c", "--json").json_lines] == ["c"]
    assert batchq("dlq", "list", job, "--reason", "TIMEOUT").out == ""
    assert "prompt is empty" in batchq("dlq", "show", job, "--id", "b").out
    assert batchq("dlq", "show", job, "--id", "b", "--json").json["input"] == {"prompt": ""}
    for chosen in (
        [job, "b"],
        ["--id", "b"],
        [job, "b", "--id", "b"],
        [job, "--reason", "empty_prompt", "b"],
    ):
        assert batchq("dlq", "show", *chosen, "--json").json["id"] == "b"
    assert [one["id"] for one in batchq("dlq", "list", job, "c", "b", "--json").json_lines] == ["b", "c"]
    assert "no dead letter" in batchq("dlq", "show", job, "a").err

    assert batchq("dlq", "export", "-o", "letters.jsonl").code == 0
    letters = [json.loads(line) for line in (house.folder / "letters.jsonl").read_text().splitlines()]
    assert [letter["id"] for letter in letters] == ["b", "c"]

    redriven = batchq("dlq", "redrive", job, "--id", "b", "--json")
    assert redriven.json == {"redriven": 0, "skipped": 1}, "an empty prompt would be refused again"
    assert "correct the input" in redriven.err
    assert batchq("status", job, "--json").json["pending"] == 2
    assert batchq("dlq", "purge", job, "--id", "b", "--json").json == {"purged": 1}
    assert len(batchq("dlq", "list", job).out.splitlines()) == 1
    assert batchq("status", job, "--json").json["failed"] == 2


@pytest.mark.parametrize("command", ["redrive", "purge"])
def test_all_dead_letters_of_all_jobs_are_not_touched_unasked(
    batchq: Terminal, job: str, command: str
) -> None:
    refused = batchq("dlq", command)
    assert refused.code == 2
    assert "2 dead letters of all jobs" in refused.err
    assert len(batchq("dlq", "list").out.splitlines()) == 2

    assert batchq("dlq", command, "--yes").code == 0
    assert len(batchq("dlq", "list").out.splitlines()) == (0 if command == "purge" else 2)


def test_names_from_outside_cannot_steer_the_terminal(house: House, batchq: Terminal) -> None:
    house.file("a\x1b[31m\nb.txt", "x\n")
    job = batchq("submit", "a\x1b[31m\nb.txt", "--model", "m\x9b31m").out.strip()

    for shown in (
        batchq("status", job),
        batchq("list"),
        batchq("list", "--json"),
        batchq("status", job, "--history"),
    ):
        assert shown.code == 0
        assert not {"\x1b", "\x9b"} & set(shown.out + shown.err)
    assert "a\\x1b[31m\\nb.txt" in batchq("list").out
    assert "no job x\\x1b[31m" in batchq("status", "x\x1b[31m").err
    assert batchq("status", job, "--json").json["model"] == "m\x9b31m"


def test_files_go_by_path_where_every_worker_may_read_them_else_as_bytes(
    house: House, batchq: Terminal
) -> None:
    house.file("scans/a.txt", "text")
    house.file("schema.json", '{"type": "object"}')
    command = ("submit", "scans", "--operation", "extract", "--schema", "schema.json", "--json")
    assert "files" not in batchq(*command).json["metadata"]  # nobody lives

    with Client() as client:

        def beat(name: str, roots: tuple[str, ...], queues: tuple[str, ...] = ("control", "extract")) -> None:
            beat = Beat(name, "here", 1, 5, queues, "gevent", "1", "p", file_roots=roots)
            client.walk.fleet.beat(beat, 4_000, 15_000)

        root = os.path.realpath(house.folder)
        beat("one", (root,))
        beat("other-queue", (), ("control", "generate"))
        assert batchq(*command).json["metadata"]["files"] == f"{root}/scans"
        beat("two", ("/elsewhere",))
        assert "files" not in batchq(*command).json["metadata"]
        assert batchq(*command, "--files", "path").json["metadata"]["files"] == f"{root}/scans"
        client.walk.fleet.leave("one")
        before = len(list(client.list()))
        refused = batchq(*command, "--files", "path")
        assert refused.code == 2
        assert f"no live worker has {root}/scans under its file roots" in refused.err
        assert f"BATCHQ_FILE_ROOTS={root}/scans" in refused.err
        assert len(list(client.list())) == before
        client.walk.fleet.leave("two")
        warned = batchq(*command, "--files", "path")
        assert warned.code == 0
        assert "warning: --files path, and no worker lives yet" in warned.err


def test_doctor_masks_secrets_and_says_what_is_wrong(
    house: House, batchq: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batchq("server", "start").code == 0
    fine = batchq("doctor", "--no-provider", "--json")
    checks = {one["check"]: one["verdict"] for one in fine.json["checks"]}
    assert fine.code == 0
    assert checks["server"] == checks["eviction"] == checks["persistence"] == checks["broker"] == "ok"
    assert checks["workers"] == checks["provider"] == "warn"
    assert fine.json["settings"]["namespace"] == {"value": house.namespace, "origin": "BATCHQ_NAMESPACE"}
    assert fine.json["settings"]["lease_s"]["origin"] == "default"

    monkeypatch.setenv("BATCHQ_REDIS_URL", "redis://someone:s3cret@127.0.0.1:1/0")
    broken = batchq("doctor", "--no-provider")
    assert broken.code == 1
    assert "redis://someone:***@127.0.0.1:1/0" in broken.out
    assert "s3cret" not in broken.out + broken.err
    assert "fail  server: " in broken.out
    assert "→ start it, or correct BATCHQ_REDIS_URL" in broken.out


def test_doctor_finds_several_projects_on_one_queue(batchq: Terminal, job: str) -> None:
    with Client() as client:
        for name in ("one", "two"):
            beat = Beat(name, "here", 1, 5, ("control", "generate"), "gevent", "1", f"project-{name}")
            client.walk.fleet.beat(beat, 4_000, 15_000)
    found = batchq("doctor", "--no-provider").out
    assert "use the quotas of several projects: project-one, project-two" in found
    assert "no live worker consumes" in found  # of the queues of the other operations


def test_doctor_names_the_limits_in_which_workers_differ(batchq: Terminal, job: str) -> None:
    with Client() as client:
        for name, rpm in (("a", "600"), ("b", "900"), ("c", "600")):
            limits = {"queues.slow": "concurrency=5", 'quotas."m"': f"requests_per_minute={rpm}"}
            beat = Beat(name, "here", 1, 5, ("control", "slow"), "gevent", "1", "p", name=name, limits=limits)
            client.walk.fleet.beat(beat, 4_000, 15_000)
        limits.pop("queues.slow")  # a worker that has nothing to do with that queue
        beat = Beat("d", "here", 1, 5, ("control",), "gevent", "1", "p", name="d", limits=limits)
        client.walk.fleet.beat(beat, 4_000, 15_000)
    found = batchq("doctor", "--no-provider").out
    differing = (
        'workers differ in [quotas."m"]: requests_per_minute=600 (a, c, d); requests_per_minute=900 (b)'
    )
    assert differing in " ".join(found.split())
    assert "queues.slow" not in found


def test_workers_are_shown_by_name_children_of_prefork_together(batchq: Terminal, job: str) -> None:
    none = batchq("workers")
    assert (none.code, none.out) == (0, "")
    assert "no live worker: `batchq worker` starts one" in none.err

    with Client() as client:
        for name, pid, slots, running in (("b@here", 7, 1, 1), ("a@here", 1, 5, 3), ("b@here", 8, 1, 0)):
            fields = {"name": name, "running": running}
            beat = Beat(f"i{pid}", "here", pid, slots, ("control", "work"), "pool", "1", "p", **fields)
            client.walk.fleet.beat(beat, 4_000, 15_000)
    shown = batchq("workers")
    assert [line.split()[:4] for line in shown.out.splitlines()[1:]] == [
        ["a@here", "pool", "3", "5"],
        ["b@here", "pool", "1", "2"],
    ]
    assert "2 workers, 7 slots" in shown.err
    told = [json.loads(line) for line in batchq("workers", "--json").out.splitlines()]
    assert [one["pids"] for one in told] == [[1], [7, 8]]
    with Client() as client:
        namesake = Beat("i9", "here", 9, 4, ("control", "work"), "pool", "1", "another", name="a@here")
        client.walk.fleet.beat(namesake, 4_000, 15_000)
    assert "3 workers, 11 slots" in batchq("workers").err, "of two projects, though of one name"
    assert all(queue.endswith((".control", ".work")) for one in told for queue in one["queues"])


def test_server_status_tells_of_the_running_server(batchq: Terminal, job: str) -> None:
    assert batchq("server", "status", "--json").json["state"] == "running"
    assert "redis+socket://" in batchq("server", "start").out


@scene
def test_the_emulator_command_prints_where_it_is_until_it_is_ended(house: House) -> None:
    from urllib.request import urlopen

    emulator = house.start("emulator", "--rpm", "10", "--fault", "503:0.1")
    emulator.says("export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:")
    url = wait_until(lambda: emulator.out.strip())
    with urlopen(f"{url}/v1/models?key=any") as models:
        assert b"gemini-2.5-flash-lite" in models.read()
    emulator.process.terminate()
    assert emulator.wait() == 0
