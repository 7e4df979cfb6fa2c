"""The Jobs and Dead letters pages of Flower: what they tell, whom they tell it, and that it stays text."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flower_world import (
    LOGIN,
    LONG,
    SCRIPT,
    SECRET,
    World,
    environment,
    eventually,
    made_newer,
    module_of,
    start,
    start_flower,
)

from batchq import embedded

visible = module_of("workers/flower/text.py").visible
with_entries = module_of("workers/flower/templates.py").with_entries

PAGES = ["/jobs", "/dead-letters"]
DATA = ["/jobs/data", "/dead-letters/data", "/api/jobs", "/api/dead-letters"]


def by_id(rows: list[dict[str, object]], key: str = "id") -> dict[object, dict[str, object]]:
    return {row[key]: row for row in rows}


# -- what they tell ----------------------------------------------------------------------------------------------


def test_the_jobs_page_shows_state_progress_counts_and_rate_as_the_record_has_them(world: World) -> None:
    rows = by_id(world.open.get("/jobs/data").json()["data"])
    record = world.client.status(world.jobs.mixed)
    row = rows[world.jobs.mixed]
    assert (row["state"], row["total"], row["settled"], row["succeeded"], row["failed"]) == (
        "completed",
        34,
        34,
        30,
        4,
    )
    assert row["rate"] == pytest.approx(record.rate, abs=0.001)
    assert row["rate"] > 0
    assert (row["pending"], row["processing"], row["dead_letter"], row["cancelled"]) == (0, 0, 0, 0)
    assert rows["held"]["state"] == "paused"
    assert rows[world.jobs.cancelled]["state"] == "cancelled"


def test_jobs_come_newest_first_in_pages_that_hold_each_job_once(world: World) -> None:
    every = [row["id"] for row in world.open.get("/jobs/data").json()["data"]]
    assert every == [record.id for record in world.client.list()]
    paged = []
    for offset in range(0, 10, 3):
        page = world.open.get(f"/jobs/data?offset={offset}&limit=3").json()
        paged += [row["id"] for row in page["data"]]
        if not page["more"]:
            break
    assert paged == every


def test_jobs_can_be_chosen_by_state_and_paged_within_it(world: World) -> None:
    chosen = world.open.get("/jobs/data?state=paused").json()
    assert [row["id"] for row in chosen["data"]] == ["held"]
    assert chosen["more"] is False
    assert world.open.get("/jobs/data?state=paused&offset=1").json()["data"] == []


def test_jobs_of_a_newer_batchq_are_there_and_nothing_is_made_up_of_them(world: World) -> None:
    with made_newer(world.url, "held"):
        row = by_id(world.open.get("/jobs/data").json()["data"])["held"]
        document = by_id(world.guarded.get("/api/jobs").json()["data"])["held"]
        paused = world.open.get("/jobs/data?state=paused").json()["data"]
    assert set(row) == {"id", "name", "state", "reason"}
    assert (row["state"], document["state"], paused) == (None, None, [])
    assert "was stored by a newer batchq" in str(row["reason"])
    assert "upgrade this one" in str(document["error"])


def test_dead_letters_come_with_job_item_reason_error_and_attempts(world: World) -> None:
    rows = world.open.get("/dead-letters/data?" + urlencode({"job_id": world.jobs.mixed})).json()["data"]
    row = by_id(rows)["schema"]
    assert (row["job_id"], row["index"], row["operation"]) == (world.jobs.mixed, 31, "chore")
    assert (row["status"], row["reason"], row["code"], row["attempts"]) == (
        "failed",
        "SCHEMA_MISMATCH",
        400,
        1,
    )
    assert row["error"] == "the answer does not fit"


def test_dead_letters_can_be_chosen_by_reason_and_job_and_paged(world: World) -> None:
    chosen = world.open.get("/dead-letters/data?reason=schema_mismatch").json()["data"]
    assert [row["id"] for row in chosen] == ["schema"]
    every = [row["index"] for row in world.open.get("/dead-letters/data").json()["data"]]
    first = world.open.get("/dead-letters/data?limit=4").json()
    second = world.open.get("/dead-letters/data?limit=4&offset=4").json()
    assert [row["index"] for row in first["data"] + second["data"]] == every[:8]
    assert first["more"] is True


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("/dead-letters/data?job_id=nothing", 404, "no job nothing"),
        ("/jobs/data?state=done", 400, "the states are pending"),
        ("/jobs/data?limit=201", 400, "at most 200 rows"),
        ("/jobs/data?limit=0", 400, "limit 1 or more"),
        ("/jobs/data?offset=10001", 400, "narrow the list down"),
        ("/jobs/data?offset=-1", 400, "offset must be a whole number"),
        ("/jobs/data?offset=" + "9" * 5000, 400, "offset must be a whole number"),
    ],
)
def test_what_cannot_be_answered_is_told_as_an_error(
    world: World, query: str, status: int, told: str
) -> None:
    answer = world.open.get(query)
    assert answer.status == status
    assert told in answer.json()["error"]


def test_no_input_of_an_item_reaches_flower(world: World) -> None:
    for path in PAGES + DATA:
        assert SECRET not in world.guarded.get(path).text


# -- text stays text -------------------------------------------------------------------------------------------


def test_hostile_ids_and_errors_come_as_short_visible_text(world: World) -> None:
    answer = world.open.get("/dead-letters/data?job_id=hostile")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    ids = [row["id"] for row in answer.json()["data"]]
    assert ids == [
        SCRIPT,
        "\\u001b[31mred\\u001b[0m\\u0007",
        "invoice-\\u202egnp.exe",
        "x" * 200 + "… (10,240 characters)",
        "two\\nlines",
    ]
    row = answer.json()["data"][0]
    assert row["reason"] == "invoice-\\u202egnp.exe"
    assert row["error"].startswith(SCRIPT + "xxx")
    assert row["error"].endswith("… (10,282 characters)")
    assert len(answer.text) < 10_000


def test_pages_hold_no_data_so_that_there_is_nothing_to_escape(world: World) -> None:
    for path in PAGES:
        page = world.open.get(path + "?" + urlencode({"job_id": SCRIPT, "state": SCRIPT})).text
        assert "broken" not in page
        assert world.jobs.mixed not in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain — übel 東京 👍", "plain — übel 東京 👍"),
        ("\u2066\u2069\u200b\ufeff\u2028", "\\u2066\\u2069\\u200b\\ufeff\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\x00\x7f\x9b", "\\u0000\\u007f\\u009b"),
    ],
)
def test_what_could_hide_or_reorder_text_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


# -- whom they tell it -----------------------------------------------------------------------------------------


def test_nothing_is_shown_without_the_login(world: World) -> None:
    for path in PAGES + DATA:
        for login in (None, "me:wrong"):
            answer = world.guarded.ask(path, login=login)
            assert answer.status == 401, path
            assert world.jobs.mixed not in answer.text
        assert world.guarded.get(path).status == 200, path


def test_there_is_nothing_but_reading(world: World) -> None:
    for path in PAGES + DATA:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert world.guarded.ask(path, login=LOGIN, method=method).status in (403, 405), (method, path)
    shutdown = world.guarded.ask("/api/worker/shutdown/fleet-one@here", login=LOGIN, method="POST")
    assert shutdown.status == 403
    assert world.worker.process.poll() is None


def test_the_interface_for_programs_answers_only_where_there_is_a_login(world: World) -> None:
    for path in ("/api/jobs", "/api/dead-letters"):
        assert world.open.get(path).status == 401
    letters = by_id(world.guarded.get("/api/dead-letters?job_id=hostile").json()["data"])
    assert set(letters) == {SCRIPT, "\x1b[31mred\x1b[0m\x07", "invoice-\u202egnp.exe", LONG, "two\nlines"}
    assert "input" not in letters[SCRIPT]
    jobs = by_id(world.guarded.get("/api/jobs").json()["data"])
    assert jobs[world.jobs.mixed]["errors"] == {"INVALID_ARGUMENT": 3, "SCHEMA_MISMATCH": 1}


def test_pages_and_links_stay_under_the_prefix(world: World) -> None:
    page = world.guarded.get("/jobs").text
    for link in ("/ops/jobs/data", "/ops/dead-letters", "/ops/batchq/static/batchq.js", "/ops/workers"):
        assert f'"{link}"' in page
    assert world.guarded.get("/batchq/static/batchq.js").status == 200
    assert world.guarded.get("/batchq/static/../install.py").status in (403, 404)


def test_every_page_of_flower_leads_to_ours(world: World) -> None:
    for path in ("/", "/workers", "/tasks", "/broker", "/jobs", "/dead-letters"):
        page = world.guarded.get(path).text
        assert 'href="/ops/jobs"' in page, path
        assert 'href="/ops/dead-letters"' in page, path


def test_a_navigation_bar_of_another_shape_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert with_entries("<nav>quite different</nav>") == "<nav>quite different</nav>"
    assert "find the pages at /jobs and /dead-letters" in caplog.text


def test_flower_as_it_comes_works_too(world: World) -> None:
    assert world.stock.get("/workers").status == 200
    assert world.stock.get("/jobs").status == 404


def test_flower_listens_on_this_machine_alone_unless_told(world: World) -> None:
    assert "http://127.0.0.1:" in world.open.url
    import psutil

    listening = [
        one.laddr.ip for one in psutil.Process(world.open.process.pid).net_connections() if not one.raddr
    ]
    assert set(listening) == {"127.0.0.1"}


def test_an_open_network_without_a_login_is_refused(world: World, tmp_path: Path) -> None:
    flower = start_flower(world.url, tmp_path / "log", "--address=0.0.0.0")
    assert flower.process.wait(20) == 1
    assert "without a login: set FLOWER_BASIC_AUTH" in flower.text()
    assert "Traceback" not in flower.text()


def test_without_its_store_the_page_says_so_and_flower_lives(world: World, tmp_path: Path) -> None:
    own = embedded.start(tmp_path / "own")
    flower = start_flower(own.url, tmp_path / "log", extra={"BATCHQ_BROKER_URL": world.url})
    try:
        assert flower.get("/jobs/data").json()["data"] == []
        embedded.stop(tmp_path / "own")
        answer = flower.get("/jobs/data")
        assert answer.status == 503
        assert "cannot be reached" in answer.json()["error"]
        assert own.url not in answer.text, "the address without its password"
        assert flower.get("/workers").status == 200
        own = embedded.start(tmp_path / "own")
        eventually(lambda: flower.get("/jobs/data").status == 200)
    finally:
        flower.kill()
        embedded.stop(tmp_path / "own")


def test_the_command_runs_it_from_any_folder(world: World, tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("raise SystemExit('the wrong workers')\n")
    command = [str(Path(sys.executable).with_name("batchq")), "flower", "--port=0"]
    began = start(command, tmp_path / "log", environment(world.url), cwd=tmp_path)
    try:
        flower = type(world.open)(began.process, began.log)
        assert flower.get("/jobs").status == 200
        assert world.jobs.mixed in flower.get("/jobs/data").text
        assert began.end() == 0
    finally:
        began.kill()
