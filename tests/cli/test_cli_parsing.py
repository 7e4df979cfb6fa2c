"""What the command line understands, before anything is done."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from batchq.cli import COMMANDS, batchq, main
from batchq.cli.celery import queues_named, worker_arguments
from batchq.cli.options import JobOptions, read_time

HEAVY = ("celery", "kombu", "redis", "google.genai", "pydantic", "rich", "aiohttp", "gevent")
GROUPS = {"dlq": ("list", "show", "redrive", "purge", "export"), "server": ("start", "stop", "status")}


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(batchq, arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["dlq", "redrive", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; from batchq.cli import main; assert main({arguments}) == 0\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_is_listed_and_its_help_has_examples() -> None:
    listed = ask("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        for command in ([name, part] for part in GROUPS[name]) if name in GROUPS else [[name]]:
            shown = ask(*command, "--help").output
            assert "Example" in shown, command
            assert f"batchq {' '.join(command)}" in shown


def test_every_command_and_option_stands_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    of_a_job = page.split("## `batchq run`")[1].split("## Dead letters")[0]
    for name in COMMANDS:
        told = of_a_job if name in ("run", "submit") else page
        parts = {**GROUPS, "quotas": ("show", "set", "reset", "pause", "resume")}.get(name, ())
        assert re.search(rf"\bbatchq {name}\b|`{name} JOB`", page), name
        for command in ([name, part] for part in parts) if parts else [[name]]:
            shown = ask(*command, "--help").output
            for line in re.findall(r"^  (-.*?)(?:  |$)", shown, re.MULTILINE):
                names = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line)) - {"-h", "--help"}
                assert not names or any(re.search(rf"{one}(?![\w-])", told) for one in names), (command, line)


def test_every_command_that_prints_takes_json() -> None:
    without = {"worker", "flower"}  # Celery's own programs
    for name in set(COMMANDS) - without:
        for command in ([name, part] for part in GROUPS[name]) if name in GROUPS else [[name]]:
            assert "--json" in ask(*command, "--help").output, command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["statsu", "x"], "There is no command 'statsu'. Did you mean 'status'?"),
        (["run", "x.txt", "--opion", "a=1"], "No such option"),
        (["run", "x.txt", "--option", "temperature"], "is no NAME=VALUE"),
        (["run", "x.txt", "--option", "a=1", "--option", "a=2"], "a is given twice"),
        (["run", "x.txt", "--rpm", "0"], "0 is not in the range"),
        (["run", "x.txt", "--deadline", "soon"], "neither a duration"),
        (["run"], "name an INPUT"),
        (["run", "x.txt", "--resume", "job"], "leave one of them out"),
        (["run", "x.txt", "-o", "-", "--json"], "both want standard output"),
        (["submit"], "Missing argument"),
        (["submit", "x.txt", "--idempotency-key", ""], "'--idempotency-key': it is empty"),
        (["submit", "x.txt", "--model", " "], "'--model': it is empty"),
        (["run", "x.txt", "-o", ""], "'--out': it is empty"),
        (["results", "job", "-o", ""], "'--out': it is empty"),
    ],
)
def test_usage_errors_end_with_2(arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert told in capfd.readouterr().err


def test_an_option_is_json_where_it_is_json() -> None:
    from batchq.cli.options import _value

    read = [_value(text) for text in ("0.2", "true", '["a"]', "plain", "{broken", "null", "NaN")]
    assert read == [0.2, True, ["a"], "plain", "{broken", None, "NaN"]


def test_a_deadline_is_a_duration_or_a_time() -> None:
    assert read_time("2h30m", "--deadline") == pytest.approx(time.time() + 9_000, abs=5)
    tomorrow = (datetime.now() + timedelta(days=1)).replace(microsecond=0)
    assert read_time(tomorrow.isoformat(), "--deadline") == tomorrow.timestamp()
    assert read_time("2026-11-22T06:00:00+00:00", "--deadline") == 1_795_327_200
    with pytest.raises(click.BadParameter):
        read_time("90", "--deadline")


def test_runs_that_would_make_another_job_have_another_digest() -> None:
    base = JobOptions(prompt="{text}")
    assert base.digest("a.txt") == JobOptions(prompt="{text}", rpm=7, deadline=1.0).digest("./a.txt")
    others = [
        JobOptions(prompt="{text}!"),
        JobOptions(prompt="{text}", model="m"),
        JobOptions(prompt="{text}", options={"seed": 1}),
        JobOptions(prompt="{text}", schema={}),
        JobOptions(prompt="{text}", operation="extract"),
        JobOptions(prompt="{text}", id_field="n"),
    ]
    digests = {one.digest("a.txt") for one in [base, *others]} | {base.digest("b.txt")}
    assert len(digests) == len(others) + 2


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ([], ["-P", "gevent", "-c", "100"]),
        (["-Pgevent", "-c5"], ["-P", "gevent", "-c5"]),
        (["--pool=prefork", "--concurrency", "4"], ["-P", "prefork", "--concurrency", "4"]),
        (["-P", "threads", "-Q", "a,b"], ["-P", "threads", "-Q", "a,b", "-c", "100"]),
    ],
)
def test_a_worker_gets_our_pool_unless_another_is_named(given: list[str], passed_on: list[str]) -> None:
    assert worker_arguments(given) == passed_on


@pytest.mark.parametrize(
    "given", [["-Q", "a,b"], ["-Qa,b"], ["--queues", "a, b"], ["--queues=a,b", "-c", "4"]]
)
def test_queues_are_found_however_they_are_named(given: list[str]) -> None:
    assert queues_named(["-l", "info", *given]) == ["a", "b"]


@pytest.mark.parametrize("given", [[], ["-l", "info"], ["-Q"]])
def test_a_worker_line_may_name_no_queue(given: list[str]) -> None:
    assert queues_named(given) == []
