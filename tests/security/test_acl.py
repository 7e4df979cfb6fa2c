"""The rules of `batchq acl` in a real server: enough for every part of batchq, and no more than that."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from fleet_kit import OPERATIONS, SHORT, Fleet, eventually
from redis_kit import IN_MEMORY, RedisServer, redis_server

import batchq.store
from batchq import Client
from batchq.acl import Role, users
from batchq.cli import main
from batchq.settings import Settings
from batchq.store.scripts import commands, names

PASSWORD = secrets.token_hex(8)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that knows batchq's users, and nobody else without the test's own connection."""
    with redis_server(tmp_path / "redis", *IN_MEMORY) as server:
        for user in users(Settings()):
            rules = [rule.replace(">PASSWORD", f">{PASSWORD}") for rule in user.rules]
            server.command("ACL", "SETUSER", user.name, *rules)
        yield server


def url(server: RedisServer, role: Role) -> str:
    return f"redis://batchq-{role}:{PASSWORD}@127.0.0.1:{server.port}/0"


@pytest.fixture
def fleet(guarded: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(url(guarded, Role.WORKER), tmp_path)
    fleet.calls_file.touch()
    yield fleet
    fleet.stop()


@pytest.fixture
def submitter(guarded: RedisServer, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("FLEET_CALLS", str(fleet.calls_file))
    monkeypatch.syspath_prepend(str(OPERATIONS))
    with Client(
        settings=Settings(redis_url=url(guarded, Role.SUBMITTER), include=("fleet_operations",), **SHORT)
    ) as client:
        yield client


def test_a_job_goes_its_whole_way_without_a_denial(
    guarded: RedisServer, fleet: Fleet, submitter: Client
) -> None:
    fleet.start("gevent", 10)
    eventually(lambda: len(submitter.fleet()) == 1)
    first = {"id": "a", "input": {"n": 1, "fail": 1, "error": "passing"}}
    refused = {"id": "b", "input": {"n": 1, "fail": 1, "error": "refused"}}
    job = submitter.submit(
        [first, refused, *({"id": f"i{n}", "input": {"n": n}} for n in range(20))], operation="work"
    )
    assert job.wait(60).failed == 1
    assert len(list(job.results())) == 22
    assert [letter.id for letter in submitter.dead_letters(job.id)] == ["b"]
    assert submitter.redrive(job.id) == 1
    assert job.wait(60).succeeded == 22
    other = submitter.submit([{"id": "a", "input": {"n": 1}}], operation="held")
    other.pause()
    other.resume()
    other.cancel()
    plain = Celery(broker=url(guarded, Role.SUBMITTER), backend=url(guarded, Role.SUBMITTER))
    sent = plain.send_task(
        "batchq.submit",
        kwargs={"items": [{"id": "m", "input": {"n": 1}}], "operation": "work"},
        queue="batchq.control",
    )
    by_message = submitter.get(sent.get(timeout=30))
    assert by_message.wait(30).succeeded == 1
    submitter.delete(by_message.id)
    with Client(settings=Settings(redis_url=url(guarded, Role.DASHBOARD), **SHORT)) as dashboard:
        assert {record.id for record in dashboard.list()} == {job.id, other.id}
        assert dashboard.status(job.id).succeeded == 22
        assert len(list(dashboard.results(job.id))) == 22
        assert list(dashboard.dead_letters(job.id)) == []
        assert [beat.slots for beat in dashboard.fleet()] == [10]
    assert denials(guarded) == []


def denials(server: RedisServer) -> list[str]:
    return [" ".join(map(str, entry)) for entry in server.command("ACL", "LOG")]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    "command",
    [
        "KEYS *",
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET *",
        "SAVE",
        "SHUTDOWN",
        "ACL LIST",
        "GET foreign",
        "SET foreign 1",
        "HGETALL other:{job}:job",
        "PUBLISH foreign x",
        "MIGRATE h 1 k 0 1",
    ],
)
def test_what_no_part_of_batchq_needs_is_refused(guarded: RedisServer, role: Role, command: str) -> None:
    with (
        redis.Redis.from_url(url(guarded, role)) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command.split())


@pytest.mark.parametrize(
    ("role", "command"),
    [
        (Role.SUBMITTER, "BRPOP batchq.work 1"),
        (Role.SUBMITTER, "PUBLISH /0.batchq:celery.pidbox shutdown"),
        (Role.SUBMITTER, "PSUBSCRIBE *"),
        (Role.DASHBOARD, "LPUSH batchq.control x"),
        (Role.DASHBOARD, "DEL batchq:jobs"),
        (Role.DASHBOARD, "HSET batchq:{job}:job state completed"),
        (Role.DASHBOARD, "PUBLISH /0.batchq:celery.pidbox shutdown"),
        (Role.DASHBOARD, "EVAL return 0"),
    ],
)
def test_a_role_is_held_to_what_it_does(guarded: RedisServer, role: Role, command: str) -> None:
    with (
        redis.Redis.from_url(url(guarded, role)) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command.split())


def test_every_command_of_the_store_is_in_the_rules_of_those_who_write() -> None:
    """A run calls most of them, and the rules are to hold for the rest too."""
    python = "\n".join(path.read_text("utf-8") for path in Path(batchq.store.__file__).parent.glob("*.py"))
    called = set(re.findall(r'(?:command|execute_command)\(\s*"([A-Z]+)"|\(\s*"([A-Z]{3,})",', python))
    used = {(one or other).lower() for one, other in called}
    used |= {command.lower() for name in names() for command in commands(name)}
    for user in users(Settings()):
        if user.role is not Role.DASHBOARD:
            assert {command for command in used if f"+{command}" not in user.rules} <= {"set"}, user.role


def test_the_rules_follow_the_namespace_and_the_database() -> None:
    settings = Settings(namespace="acme", redis_url="redis://h/3")
    for user in users(settings):
        assert user.name.startswith("acme-")
        assert not any("batchq" in rule for rule in user.rules)
    worker = next(user for user in users(settings) if user.role is Role.WORKER)
    assert "&/3.acme:celeryev/worker.*" in worker.rules


def test_what_the_command_prints_is_an_acl_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCHQ_REDIS_URL", "redis://redis.internal/0")
    assert main(["acl"]) == 0
    lines = capsys.readouterr().out.replace(">PASSWORD", f">{PASSWORD}")
    file = tmp_path / "users.acl"
    file.write_text(f"user default on nopass ~* &* +@all\n{lines}")
    with redis_server(tmp_path / "redis", *IN_MEMORY, "--aclfile", str(file)) as server:
        for role in Role:
            assert redis.Redis.from_url(url(server, role)).ping()
