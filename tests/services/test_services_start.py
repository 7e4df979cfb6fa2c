"""What a worker looks at before it takes a message: it refuses what loses or doubles work, and says the remedy."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_kit import OPERATIONS, Fleet, eventually

from batchq import Client, checks, embedded
from batchq.checks import Finding, Verdict, WorkerSetup
from batchq.cli import main
from batchq.store.database import Database

GOOD = WorkerSetup(
    pool="gevent",
    slots=100,
    patched=True,
    prefetch=2,
    connections=1_000,
    open_files=65_536,
    asking=("batchq.generate",),
    provider=None,
)
INFO = {
    "redis_version": "7.2.4",
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
}
FAIL, WARN = Verdict.FAIL, Verdict.WARN


def wrong(findings: Iterator[Finding]) -> list[tuple[str, Verdict]]:
    found = [finding for finding in findings if finding.verdict is not Verdict.OK]
    assert all(finding.remedy for finding in found), "each names its remedy"
    return [(finding.check, finding.verdict) for finding in found]


def test_a_good_setup_has_nothing_to_be_told() -> None:
    assert wrong(checks.worker(GOOD)) == []
    assert wrong(checks.worker(replace(GOOD, pool="threads", patched=False, open_files=None))) == []
    assert (
        wrong(checks.worker(replace(GOOD, pool="prefork", patched=False, prefetch=1, open_files=300))) == []
    )
    assert wrong(checks.server("localhost:6379", INFO)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"patched": False}, ("pool", FAIL)),
        ({"pool": "eventlet"}, ("pool", FAIL)),
        ({"prefetch": 0}, ("prefetch", FAIL)),
        ({"prefetch": 1}, ("prefetch", WARN)),
        ({"slots": 951, "open_files": None}, ("connections", FAIL)),
        ({"open_files": 399}, ("open files", WARN)),
        ({"provider": "no key"}, ("provider", FAIL)),
    ],
)
def test_each_wrong_setup_of_a_worker_is_found(change: dict[str, object], expected: object) -> None:
    assert wrong(checks.worker(replace(GOOD, **change))) == [expected]  # type: ignore[arg-type]


def test_the_bounds_themselves_are_fine() -> None:
    assert wrong(checks.worker(replace(GOOD, slots=950, open_files=2_100))) == []
    assert wrong(checks.worker(replace(GOOD, asking=(), provider="no key"))) == []
    assert wrong(checks.server("", {**INFO, "redis_version": "7.0.0"})) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"redis_version": "6.2.14"}, ("version", FAIL)),
        ({"maxmemory_policy": "allkeys-lru"}, ("eviction", FAIL)),
        ({"aof_enabled": 0}, ("persistence", WARN)),
        ({"aof_last_write_status": "err"}, ("persistence", FAIL)),
    ],
)
def test_each_wrong_setting_of_a_server_is_found(change: dict[str, object], expected: object) -> None:
    assert wrong(checks.server("localhost:6379", {**INFO, **change})) == [expected]


def test_libraries_out_of_their_range_are_found() -> None:
    fits = {"celery": "5.7.0", "kombu": "5.7.3", "redis": "8.1.0"}
    assert wrong(checks.libraries(fits)) == []
    for other in (
        {"celery": "5.6.9"},
        {"celery": "5.8.0"},
        {"kombu": "5.6.2"},
        {"redis": "9.0.0"},
        {"redis": "6.3"},
    ):
        assert wrong(checks.libraries({**fits, **other})) == [("libraries", FAIL)]
    assert len(wrong(checks.libraries({}))) == 3


def test_the_ranges_are_those_that_are_installed_by() -> None:
    with (OPERATIONS.parents[1] / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    for name, (least, below) in checks.LIBRARIES.items():
        extra = "[redis]" if name == "celery" else ""
        assert f"{name}{extra}>={_dotted(least)},<{_dotted(below)}" in wanted


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


# -- real workers -------------------------------------------------------------------------------------------


def refused(fleet: Fleet, *options: str, **environ: str) -> str:
    """What a worker says that does not start; stdout and stderr together."""
    environment = {**fleet.environment, **environ}
    for name in [name for name, value in environ.items() if not value]:
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", "worker", "-l", "INFO", *options],
        cwd=OPERATIONS.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "this worker does not start:\n" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.partition("this worker does not start:\n")[2]


def test_a_worker_without_a_way_to_gemini_refuses_unless_it_needs_none(fleet: Fleet, client: Client) -> None:
    told = refused(fleet, "-P", "gevent", "-c", "5", GOOGLE_GEMINI_BASE_URL="")
    assert "batchq.extract, batchq.generate" in told
    assert "GEMINI_API_KEY" in told
    fleet.extra["GOOGLE_GEMINI_BASE_URL"] = ""
    fleet.start("gevent", 5, "-Q", "batchq.work,batchq.control")
    eventually(lambda: client.fleet())


def test_a_worker_that_would_lose_work_by_its_options_refuses(fleet: Fleet) -> None:
    told = refused(fleet, "-Pgevent", "-c", "2000")
    assert "gevent has patched nothing" in told
    assert "with the space" in told
    assert "2000 slots share 1000 connections" in told
    assert told.count("\n") == 2, "one line each and nothing else"


Doctor = Callable[..., tuple[int, list[Finding]]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """`batchq doctor` in this process: its exit code and what it found."""

    def run(url: str, **environ: str) -> tuple[int, list[Finding]]:
        with monkeypatch.context() as patch:
            for name, value in {"BATCHQ_REDIS_URL": url, **environ}.items():
                patch.setenv(name, value)
            code = main(["doctor", "--no-provider", "--json"])
        found = json.loads(capsys.readouterr().out)["checks"]
        return code, [Finding(**{**one, "verdict": Verdict(one["verdict"])}) for one in found]

    return run


@contextmanager
def configured(database: Database, name: str, value: str) -> Iterator[None]:
    before = database.command("CONFIG", "GET", name)[name.encode()]
    database.command("CONFIG", "SET", name, value)
    try:
        yield
    finally:
        database.command("CONFIG", "SET", name, before)
        eventually(lambda: not _rewrites(database))


def _rewrites(database: Database) -> bool:
    """Whether it is still writing its append-only file anew; it refuses to stop until then."""
    info = database.command("INFO", "persistence")
    return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


def test_a_worker_refuses_a_server_that_evicts_and_doctor_says_the_same(
    fleet: Fleet, database: Database, doctor: Doctor
) -> None:
    with configured(database, "maxmemory-policy", "allkeys-lru"):
        told = refused(fleet, "-P", "gevent", "-c", "5")
        code, findings = doctor(fleet.url)
    (found,) = [one for one in findings if one.verdict is FAIL]
    assert code == 1
    assert str(found) in told
    assert "maxmemory-policy of redis+socket://" in told
    assert "CONFIG SET maxmemory-policy noeviction" in told
    assert database.address.password is not None
    assert database.address.password not in told


def test_a_worker_warns_of_a_server_that_forgets_and_doctor_tells_of_what_it_warned(
    fleet: Fleet, client: Client, database: Database, doctor: Doctor
) -> None:
    with configured(database, "appendonly", "no"):
        fleet.start("gevent", 5, "--prefetch-multiplier", "1")
        eventually(lambda: client.fleet())
        _, findings = doctor(fleet.url)
    texts = [one.text for one in findings if one.verdict is WARN]
    for what in ("has no append-only file: a restart loses jobs", "a gevent worker stalls in waves"):
        assert what in fleet.logs()
        assert any("warned at its start: " in text and what in text for text in texts)
    assert any(one.check == "persistence" for one in findings if one.verdict is WARN)


def test_doctor_looks_at_broker_and_backend_too_and_at_what_a_worker_here_would_have(
    fleet: Fleet, doctor: Doctor, tmp_path: Path
) -> None:
    other = embedded.start(tmp_path / "other")
    try:
        with (
            closing(Database(other.url)) as database,
            configured(database, "maxmemory-policy", "volatile-lru"),
        ):
            _, findings = doctor(fleet.url, BATCHQ_BROKER_URL=other.url)
            (evicting,) = [one for one in findings if one.verdict is FAIL]
            assert evicting.check == "eviction"
            assert database.address.shown in evicting.text
    finally:
        embedded.stop(tmp_path / "other")
    _, findings = doctor(fleet.url, BATCHQ_RESULT_BACKEND=f"redis://127.0.0.1:{_free_port()}/0")
    assert [one.remedy for one in findings if one.verdict is FAIL] == [
        "start it, or correct BATCHQ_RESULT_BACKEND"
    ]

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        _, findings = doctor(fleet.url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "100 slots may need 400 open files" in next(
        one.text for one in findings if one.check == "open files"
    )


def test_a_worker_waits_for_a_server_that_is_away(fleet: Fleet) -> None:
    fleet.url = f"redis://127.0.0.1:{_free_port()}/0"
    worker = fleet.start("gevent", 5)
    eventually(lambda: "this worker waits for it" in fleet.logs() and "Trying again" in fleet.logs())
    assert worker.poll() is None


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_numbers_that_contradict_each_other_end_the_worker_with_one_message(fleet: Fleet) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", "worker", "-P", "gevent"],
        cwd=OPERATIONS.parents[1],
        env={**fleet.environment, "BATCHQ_LEASE_S": "1", "BATCHQ_HEARTBEAT_S": "4"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "lease_s=1 must be at least 3 × heartbeat_s=4" in done.stderr
    assert "Traceback" not in done.stderr, os.linesep.join(done.stderr.splitlines()[-5:])
