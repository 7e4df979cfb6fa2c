"""What is wrong is told in one message that says what to do, with the right exit code; nothing is stored."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cli_world import House, Process
from redis.exceptions import ResponseError
from scenes import scene

from batchq import Client, embedded
from batchq.cli import main
from batchq.core.redis_url import parse
from batchq.emulator import Emulator
from batchq.store.connection import translate
from batchq.store.database import Database


def refused(process: Process, code: int, *texts: str) -> None:
    assert process.process.returncode == code, process.err
    assert "Traceback" not in process.err
    assert process.err.count("error: ") == 1, process.err
    for text in texts:
        assert text in process.err, process.err
    assert process.out == ""


def nothing_stored(house: House) -> None:
    listed = house.run("list", "--json")
    assert listed.process.returncode == 0, listed.err
    assert listed.out == ""
    assert house.left_behind() == []


@scene
def test_no_server_is_told_with_its_address_and_the_setting(house: House) -> None:
    house.file("words.txt", "a\n")
    for command in (("run", "words.txt"), ("status", "some-job")):
        tried = house.run(*command, BATCHQ_REDIS_URL="redis://127.0.0.1:1/0")
        refused(tried, 1, "redis://127.0.0.1:1/0 cannot be reached", "BATCHQ_REDIS_URL", "batchq doctor")


@scene
def test_a_wrong_password_is_told_without_showing_it(house: House) -> None:
    house.file("words.txt", "a\n")
    server = embedded.start(house.data_dir / "server")
    url = server.url.replace(server.password, "wr0ng")
    tried = house.run("run", "words.txt", BATCHQ_REDIS_URL=url)
    refused(tried, 1, "refuses the password: correct BATCHQ_REDIS_URL")
    assert "wr0ng" not in tried.err


@scene
def test_a_password_that_is_missing_is_not_told_as_a_wrong_one(house: House) -> None:
    server = embedded.start(house.data_dir / "server")
    url = server.url.replace(f":{server.password}@", "")
    refused(house.run("list", BATCHQ_REDIS_URL=url), 1, "wants a password: put it into BATCHQ_REDIS_URL")


def test_a_server_that_cannot_persist_is_told_without_the_script_that_found_out() -> None:
    text = "MISCONF Errors writing to the AOF file: No space left on device script: 1f3a, on @user_script:12."
    said = str(translate(ResponseError(text), parse("redis://here:6379/0")))
    assert said.endswith("(disk full?): MISCONF Errors writing to the AOF file: No space left on device")


@scene
def test_a_run_that_resumes_no_job_starts_nothing(house: House) -> None:
    tried = house.run("run", "--resume", "nojob")
    refused(tried, 1, "no job nojob")
    assert "emulator" not in tried.err


@scene
def test_an_unknown_model_and_a_bad_key_are_found_before_anything_is_stored(house: House) -> None:
    house.file("words.txt", "a\n")
    with Emulator() as emulator:
        there = {"GOOGLE_GEMINI_BASE_URL": emulator.url}
        unknown = house.run("run", "words.txt", "--model", "gemini-9", **there)
        refused(unknown, 1, "has no model 'gemini-9'")
        bad_key = house.run("submit", "words.txt", **there, GEMINI_API_KEY="bad-key")
        refused(bad_key, 1, "API key not valid", "GEMINI_API_KEY")
    nothing_stored(house)


@scene
def test_a_base_url_where_nothing_listens_is_told_with_what_to_do(house: House) -> None:
    house.file("words.txt", "a\n")
    nobody = {"GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9", "GEMINI_API_KEY": "k"}
    refused = house.run("submit", "words.txt", **nobody)
    assert refused.process.returncode == 1
    assert "is GOOGLE_GEMINI_BASE_URL right? --no-preflight" in refused.err
    assert house.run("list", "--json").out == ""


def test_a_schema_that_is_none_is_named(house: House) -> None:
    house.file("words.txt", "a\n")
    house.file("list.json", "[1")
    house.file("type.json", '{"type": 7}')
    for name, text in (
        ("list.json", "is no JSON"),
        ("type.json", "no JSON Schema"),
        ("nope.json", "no such file"),
    ):
        fresh = house.folder / "fresh"
        tried = house.run("run", "words.txt", "--schema", name, BATCHQ_DATA_DIR=str(fresh))
        refused(tried, 2, f"--schema '{name}'", text)
        assert not fresh.exists(), "a server was started for it"


@scene
def test_results_that_cannot_be_written_are_found_before_submitting(house: House) -> None:
    house.file("words.txt", "a\n")
    tried = house.run("run", "words.txt", "-o", "words.txt/out.jsonl")
    refused(tried, 2, "results cannot be written to 'words.txt/out.jsonl'")
    wrong_form = house.run("run", "words.txt", "-o", "out.xls")
    refused(wrong_form, 2, "--format")
    nothing_stored(house)


@scene
def test_a_broken_list_is_refused_with_its_lines(house: House) -> None:
    house.file("rows.jsonl", '{"id":"a","prompt":"x"}\n{"id":"a","prompt":"y"}\n{"id":\n')
    refused(
        house.run("run", "rows.jsonl"), 2, "nothing was stored", "line 2: id 'a'", "line 3: ", "--skip-bad"
    )
    refused(house.run("run", "none.jsonl"), 2, "there is no file or folder 'none.jsonl'")
    nothing_stored(house)


def test_data_of_a_newer_version_is_left_alone(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    house.file("words.txt", "a\n")
    assert main(["submit", "words.txt"]) == 0
    job_id = capfd.readouterr().out.strip()
    with Client() as client:
        database = Database(client.settings.store_url, house.namespace)
        database.command("HSET", database.job_keys(job_id).job, "v", 99)
        database.close()

    for command in (["status", job_id], ["cancel", job_id], ["results", job_id]):
        assert main(command) == 1
        told = capfd.readouterr()
        assert "was stored by a newer batchq" in told.err
        assert "upgrade this one" in told.err
        assert told.out == ""
    capfd.readouterr()
    assert main(["list"]) == 0
    (line,) = (line for line in capfd.readouterr().out.splitlines() if job_id in line)
    assert "was stored by a newer batchq" in line
    assert main(["list", "--json"]) == 0
    (listed,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert (listed["id"], listed["state"]) == (job_id, None)
    assert "upgrade this one" in listed["error"]
    assert main(["list", "--state", "pending", "--json"]) == 0
    assert capfd.readouterr().out == ""
    assert "was stored by a newer batchq" in house.run("run", "--resume", job_id).err


@pytest.mark.filterwarnings("default")
def test_a_wrong_setting_is_named(
    house: House, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHQ_LEASE_S", "long")
    assert main(["list"]) == 1
    assert "error: setting 'lease_s' (BATCHQ_LEASE_S)" in capfd.readouterr().err
    monkeypatch.delenv("BATCHQ_LEASE_S")
    monkeypatch.setenv("BATCHQ_LEES", "1")
    assert main(["list"]) == 0
    assert "warning: BATCHQ_LEES names no setting" in capfd.readouterr().err


def test_a_reader_that_goes_away_is_no_error_to_speak_of(house: House) -> None:
    house.file("words.txt", "a\n")
    house.run("submit", "words.txt")
    code = "import sys; from batchq.cli import main; sys.exit(main(['list', '--json']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
