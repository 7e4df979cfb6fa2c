"""What goes when a job goes, and what `doctor --deep` finds of what did not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from store_world import DAY_MS, START_MS, World

from batchq import Client, Job
from batchq.cli import main
from batchq.core import pacific
from batchq.core.lifecycle import HoldCause, ItemByte
from batchq.core.limits import QuotaLimits
from batchq.core.permits import Asked
from batchq.embedded import EmbeddedServer
from batchq.flow.gates import Passage
from batchq.flow.heal import sweep
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.store.fleet import Beat
from batchq.store.outbox import Outbox
from batchq.store.upkeep import Upkeep
from batchq.wiring import Place


@pytest.fixture
def client(server: EmbeddedServer, database: Database) -> Iterator[Client]:
    with Client(place=Place(Settings(redis_url=server.url), embedded=True)) as client:
        yield client


def traces(database: Database, job_id: str) -> set[bytes]:
    """Every key of batchq's that is the job's or speaks of it; messages to workers may lie about, and do nothing."""
    found = set()
    for key in database.command("KEYS", "batchq:*"):
        kind = database.command("TYPE", key)
        name = kind.decode() if isinstance(kind, bytes) else str(kind)
        read = {"zset": ("ZRANGE", key, 0, -1), "set": ("SMEMBERS", key), "hash": ("HKEYS", key)}.get(name)
        members = database.command(*read) if read else ()
        if job_id.encode() in key or any(job_id.encode() in member for member in members):
            found.add(key)
    return found


def test_nothing_is_left_of_a_job_that_is_deleted(client: Client, database: Database) -> None:
    """Also of one whose finisher died before it tidied up, and of what was under way meanwhile."""
    bad = {"id": "bad", "input": {"prompt": 7}}
    job = client.submit(
        ["a", "b", bad], rpm=60, concurrency=2, deadline=4e9, webhook="https://hooks.example/"
    )
    walk, spec = client.walk, client.walk.spec(job.id)
    job.pause()
    client.purge(job.id)
    job.cancel()
    shared = walk.gates.of(spec, spec.lanes[0], "").shared or "generate"
    walk.fleet.join_queue(shared, job.id, 0, 1.0)
    walk.quotas.register([f"job:{job.id}"])
    assert walk.outbox.count_redrive(job.id, 2) == 1
    assert len(traces(database, job.id)) > 8
    client.delete(job.id)
    walk.jobs.note(job.id, "paused", "person")
    walk.jobs.check_again(job.id, 0)
    assert walk.outbox.count_redrive(job.id, 2) == 0
    assert traces(database, job.id) == set()


def test_jobs_without_limits_share_a_passage_and_one_of_a_jobs_own_goes_with_the_job(client: Client) -> None:
    walk = client.walk
    free, other, slow = (
        client.submit([text], rpm=rpm) for text, rpm in (("a", None), ("b", None), ("c", 60))
    )

    def passage(job: Job, project: str = "one") -> Passage:
        spec = walk.spec(job.id)
        return walk.gates.of(spec, spec.lanes[0], project)

    assert passage(free) is passage(other)
    assert passage(free, "another").quotas != passage(free).quotas
    own = passage(slow)
    assert own is passage(slow)
    assert own.quotas[0] == f"job:{slow.id}"
    walk.gates.forget(slow.id)
    assert passage(slow).gate is not own.gate


def test_what_is_written_about_an_ended_job_expires_with_it(world: World) -> None:
    world.finished_with(ItemByte.FAILED, retention_ms=DAY_MS)
    world.jobs.note("job", "seen", "person")
    Outbox(world.database).count_redrive("job", 0)
    world.outcomes.purge("job", [0])
    world.outcomes.compact("job", 0)
    every = world.database.command("KEYS", "batchq:{job}:*")
    ends = {key: world.database.command("PEXPIRETIME", key) for key in every}
    assert len(ends) > 8
    assert max(ends.values()) - min(ends.values()) < 5_000, ends
    assert min(ends.values()) > 0, ends


def test_a_running_job_does_not_expire_however_it_came_to_run(world: World) -> None:
    world.finished_with(ItemByte.FAILED, retention_ms=DAY_MS)
    Outbox(world.database).count_redrive("job", 0)
    world.redrive(0)
    world.jobs.hold("job", HoldCause.PERSON, "", "person")
    for key in world.database.command("KEYS", "batchq:{job}:*"):
        assert world.database.command("PTTL", key) == -1, key


def test_the_sweeper_takes_expired_jobs_off_the_list(client: Client, database: Database) -> None:
    walk = client.walk
    kept = client.submit(["a"])
    gone = client.submit(["b"])
    gone.cancel()
    database.command("UNLINK", *database.command("KEYS", f"batchq:{{{gone.id}}}:*"))
    assert sweep(walk)
    assert database.command("ZRANGE", "batchq:jobs:all", 0, -1) == [kept.id.encode()]
    assert walk.upkeep.drop_expired() == []


def test_a_deep_look_finds_what_is_wrong_and_repairs_it(
    client: Client,
    database: Database,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BATCHQ_REDIS_URL", server.url)

    def deep(*options: str) -> list[tuple[str, str]]:
        main(["doctor", "--deep", "--no-provider", "--json", *options])
        checks = json.loads(capsys.readouterr().out)["checks"]
        return [(one["verdict"], one["text"]) for one in checks if one["check"] == "deep"]

    jobs = [client.submit(["a", "b"]) for _ in range(3)]
    fine, lost, wrong = (job.id for job in jobs)
    assert [verdict for verdict, _ in deep()] == ["ok"]
    keys = client.walk.jobs._db.job_keys
    database.command("HSET", keys("ghost").results, 0, "{}")
    database.command("HSET", keys("ghost").lane(3), "pending", 1)
    database.command("ZADD", "batchq:jobs:all", 1, "expired")
    database.command("ZADD", "batchq:busy:m", 1, "expired:0", 1, f"{fine}:0")
    database.command("SADD", "batchq:quotas", "job:expired", "m")
    database.command("ZREM", "batchq:jobs", lost)
    database.command("HINCRBY", keys(wrong).job, "n_S", 5)
    database.command("HINCRBY", keys(wrong).lane(0), "pending", -1)
    found = deep()
    assert {verdict for verdict, _ in found} == {"warn"}
    assert [text for _, text in found] == [
        "2 keys of jobs that are gone: ghost",
        "1 job on the list and gone: expired",
        "parts of windows and quotas that ended jobs still hold: expired:0, job:expired",
        f"1 open job that no sweeper looks at: {lost}",
        f"job {wrong}: lane 0 pending says 1 and should say 2; n_S says 5 and should say 0",
    ]
    assert all(text.startswith("repaired: ") for _, text in deep("--repair"))
    assert [verdict for verdict, _ in deep()] == ["ok"]
    assert database.command("ZRANGE", "batchq:busy:m", 0, -1) == [f"{fine}:0".encode()]
    assert client.status(wrong).succeeded == 0


def test_a_deep_look_at_a_job_that_is_being_worked_on_finds_nothing(world: World) -> None:
    """Counters and states are read in one instant, so that a running job is never called wrong."""
    world.store([(0, range(3)), (1, range(3, 6))], bad=[1])
    world.beat("w1")
    leases = world.leases(world.take(2))
    world.settle(leases[0])
    upkeep = Upkeep(world.database)
    assert upkeep.recount("job", 2, mend=False) == []
    assert upkeep.orphans() == {}
    assert upkeep.unwatched() == []


def test_what_a_killed_process_had_in_flight_is_freed_with_its_heartbeat(client: Client) -> None:
    """By the first sweep after its lease, and not before: its calls may still be under way."""
    walk, database = client.walk, client.walk.quotas._db
    settings = client.settings
    lease_ms, period_ms = int(settings.lease_s * 1000), int(settings.heartbeat_s * 1000)

    def beat(incarnation: str) -> None:
        walk.fleet.beat(Beat(incarnation, "host", 1, 4, (), "gevent", "0", "p"), period_ms, lease_ms)

    def flying_after(ms: int) -> int:
        database.now_ms = START_MS + ms
        beat("w2")
        assert sweep(walk)
        return walk.quotas.view("q", live=True).in_flight

    database.now_ms = START_MS
    walk.quotas.register(["q"])
    for owner, calls in (("w1", 3), ("w2", 1)):
        beat(owner)
        asked = Asked(owner, (0,) * calls, 60_000, pacific.pacific_days(START_MS))
        walk.quotas.draw(["q"], [QuotaLimits(concurrency=4)], asked)
    flying = [flying_after(ms) for ms in (*range(0, lease_ms + 1, period_ms // 2), lease_ms, lease_ms + 1)]
    assert flying == [4] * (len(flying) - 1) + [1]
