"""The server goes away, hangs, cuts connections, refuses writes or forgets: jobs wait for it and go on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from redis_kit import IN_MEMORY, RedisServer, redis_server

from batchq import Client
from batchq.client import Job
from batchq.errors import BatchqError, NotFound, StoreUnavailable
from faults.black_hole import black_hole
from faults.kit import SLOTS, Scene, note, scene_on, until

fault = pytest.mark.fault
BATCHQ = Path(sys.executable).with_name("batchq")


def working(scene: Scene, pool: str, n: int = 300) -> Job:
    """A job on one worker, some way on."""
    scene.start(pool)
    scene.until_alive(1)
    job = scene.submit(n)
    scene.until_calls(scene.moment(n))
    return job


def check(scene: Scene, job: Job, row: str, variant: str, **expected: int) -> None:
    """All of it, and that an outage is told in plain words."""
    scene.check(job, row, variant, **{"extra_calls": 0, **expected})
    _, found, rest = scene.fleet.logs().partition("Traceback")
    assert not found, rest[:6_000]
    assert all(worker.poll() is None for worker in scene.fleet.workers), "workers live through it"


# -- away for a while -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down_s", "n"), [(2, 60), pytest.param(6, 300, marks=fault), pytest.param(25, 300, marks=fault)]
)
def test_a_server_that_is_shut_down_and_started(
    own_scene: Scene, own_server: RedisServer, pool: str, down_s: int, n: int
) -> None:
    job = working(own_scene, pool, n)
    own_server.stop()
    time.sleep(down_s)  # the outage itself
    own_server.start()
    check(own_scene, job, "F15", f"{down_s} s down")


@fault
def test_a_server_that_is_killed_loses_at_most_its_last_second(
    own_scene: Scene, own_server: RedisServer, pool: str
) -> None:
    job = working(own_scene, pool)
    before = job.status()
    until(lambda: job.status().now > before.now + 1)  # what was settled by now is on the disk
    own_server.kill()
    time.sleep(1)
    begun = sum(own_scene.calls().values())
    own_server.start()
    unsure = begun - before.settled
    check(own_scene, job, "F16", "kill -9, started again", extra_calls=unsure, redone=unsure)


@fault
def test_a_server_that_keeps_nothing_is_warned_of_and_its_jobs_are_lost_aloud(
    tmp_path: Path, request: pytest.FixtureRequest, seed: int, pool: str
) -> None:
    with (
        redis_server(tmp_path / "redis", *IN_MEMORY) as server,
        scene_on(server.url, tmp_path, seed) as scene,
    ):
        lost = working(scene, pool)
        assert "a restart loses jobs" in scene.fleet.logs()
        waiting = _Waiting(lost)
        server.kill()
        server.start()
        waiting.ends_with(NotFound, "is lost")
        check(scene, scene.submit(60, first=1_000), "F17", "restart of a server that keeps nothing")
    note(request, scene)


class _Waiting:
    """A program that waits for a job in a thread of its own."""

    def __init__(self, job: Job) -> None:
        self._error: BaseException | None = None
        self._seen = threading.Event()
        self._thread = threading.Thread(target=self._wait, args=(job,), daemon=True)
        self._thread.start()
        assert self._seen.wait(30)

    def _wait(self, job: Job) -> None:
        try:
            job._client.wait(job.id, 60, watch=lambda _: self._seen.set() or False)  # type: ignore[func-returns-value]
        except BaseException as exc:
            self._error = exc

    def ends_with(self, kind: type[BatchqError], text: str) -> None:
        self._thread.join(60)
        assert isinstance(self._error, kind), self._error
        assert text in str(self._error)


@fault
def test_a_server_that_reads_its_data_for_a_while(
    own_scene: Scene, own_server: RedisServer, pool: str
) -> None:
    """It answers each command with LOADING meanwhile."""
    with redis.Redis(port=own_server.port) as mine:
        mine.mset({f"another's-{n}": "x" * 200 for n in range(500)})
        mine.config_set("auto-aof-rewrite-percentage", 0)
        job = working(own_scene, pool)
        mine.bgrewriteaof()  # what it reads is then a key at a time, and it answers between them
        until(lambda: not mine.info("persistence")["aof_rewrite_in_progress"], 20)
    own_server.stop()
    own_server.options += ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
    own_server.start()
    check(own_scene, job, "F15", "reads its data for 5 s (LOADING)")
    assert "is still loading its data" in own_scene.fleet.logs()


# -- silent ---------------------------------------------------------------------------------------------------


@fault
@pytest.mark.parametrize("stall_s", [5, 30])
def test_a_server_that_hangs(own_scene: Scene, own_server: RedisServer, pool: str, stall_s: int) -> None:
    job = working(own_scene, pool)
    own_server.stall()
    try:
        time.sleep(stall_s)
    finally:
        own_server.go_on()
    check(own_scene, job, "F18", f"hangs {stall_s} s")


@fault
def test_a_network_that_swallows_everything(
    own_server: RedisServer, tmp_path: Path, request: pytest.FixtureRequest, seed: int, pool: str
) -> None:
    with (
        black_hole(own_server.port) as between,
        scene_on(f"redis://127.0.0.1:{between.port}/0", tmp_path, seed, socket_timeout_s=2.0) as scene,
    ):
        scene.fleet.extra["BATCHQ_SOCKET_TIMEOUT_S"] = "2"
        job = working(scene, pool)
        between.swallow()
        with pytest.raises(StoreUnavailable, match=r"did not answer in time|cannot be reached"):
            scene.client.submit(["one more"], operation="work")
        time.sleep(20)
        between.go_on()
        check(scene, job, "F18", "network swallows everything for 20 s")
        assert [one.id for one in scene.client.list()] == [job.id], "nothing is left of what was refused"
    note(request, scene)


@fault
@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_connections_that_are_cut_each_second(
    own_scene: Scene, own_server: RedisServer, pool: str, kind: str
) -> None:
    job = working(own_scene, pool)
    for _ in range(10):
        own_server.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        time.sleep(1)
    check(own_scene, job, "F19", f"{kind} connections cut each second", extra_calls=SLOTS[pool])


# -- forgetful ------------------------------------------------------------------------------------------------


@fault
def test_scripts_that_are_flushed_change_nothing(
    own_scene: Scene, own_server: RedisServer, pool: str
) -> None:
    job = working(own_scene, pool)
    own_server.command("SCRIPT", "FLUSH")
    check(own_scene, job, "F21", "SCRIPT FLUSH")


@fault
def test_a_flushed_server_has_lost_its_jobs_and_takes_others(
    own_scene: Scene, own_server: RedisServer, pool: str
) -> None:
    waiting = _Waiting(working(own_scene, pool))
    own_server.command("FLUSHALL")
    waiting.ends_with(NotFound, "is lost")
    check(own_scene, own_scene.submit(60, first=1_000), "F21", "FLUSHALL, and another job")


@fault
def test_an_evicting_server_is_refused_at_the_start(
    own_scene: Scene, own_server: RedisServer, pool: str
) -> None:
    own_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    refused = own_scene.start(pool)
    assert refused.wait(60) == 1
    assert "CONFIG SET maxmemory-policy noeviction" in own_scene.fleet.logs()


@fault
@pytest.mark.parametrize("keys", ["celery-taskset-meta-*", "celery-task-meta-*"])
def test_what_celery_keeps_of_chords_and_results_may_vanish(
    own_scene: Scene, own_server: RedisServer, pool: str, keys: str
) -> None:
    job = working(own_scene, pool)
    while not job.status().finished_at:
        for key in own_server.command("KEYS", keys):
            own_server.command("DEL", key)
        time.sleep(0.1)
    check(own_scene, job, "F23", f"{keys} deleted all the while")


# -- refusing -------------------------------------------------------------------------------------------------


@contextmanager
def out_of_memory(server: RedisServer) -> Iterator[None]:
    server.command("CONFIG", "SET", "maxmemory", "1")
    yield
    server.command("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def full_disk(server: RedisServer) -> Iterator[None]:
    """No file of the server's may grow."""
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, unlimited))
    yield
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    server.command("REPLICAOF", "127.0.0.1", "1")
    yield
    server.command("REPLICAOF", "NO", "ONE")


REFUSALS: list[tuple[str, str, Callable[[RedisServer], object], str]] = [
    ("F22", "out of memory", out_of_memory, "has no memory left: raise its maxmemory"),
    ("F24", "disk of the append-only file full", full_disk, "refuses writes because it cannot persist"),
    ("F20", "read-only replica", read_only, "is a read-only replica: name the master"),
]


@fault
@pytest.mark.parametrize(("row", "variant", "refusing", "told"), REFUSALS, ids=[one[1] for one in REFUSALS])
def test_a_server_that_refuses_writes(
    own_scene: Scene,
    own_server: RedisServer,
    pool: str,
    tmp_path: Path,
    row: str,
    variant: str,
    refusing: Callable[[RedisServer], contextmanager[None]],  # type: ignore[valid-type]
    told: str,
) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    job = working(own_scene, pool)
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "more", "operation": "work", "input": {"n": 7}}\n')
    with refusing(own_server):  # type: ignore[attr-defined]
        until(lambda: _refused(own_scene.client), 20)
        again = [BATCHQ, "submit", str(more), "--operation", "work", "--idempotency-key", "k"]
        environment = {**own_scene.fleet.environment, "FLEET_CALLS": str(own_scene.fleet.calls_file)}
        refused = subprocess.run(again, env=environment, capture_output=True, text=True, timeout=60)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert told in refused.stderr
        until(lambda: told in own_scene.fleet.logs(), 60)
        assert len(own_scene.fleet.logs().splitlines()) < 400, "it is told now and then, not all the time"
    check(own_scene, job, row, variant, extra_calls=SLOTS[pool])
    taken = subprocess.run(again, env=environment, capture_output=True, text=True, timeout=60)
    assert taken.returncode == 0, taken.stderr
    assert own_scene.client.wait(taken.stdout.strip(), 60).succeeded == 1
    assert len(list(own_scene.client.list())) == 2, "nothing is left of what was refused"


def _refused(client: Client) -> bool:
    try:
        client.submit([{"id": "x", "input": {"n": 1}}], operation="work", job_id="never")
    except BatchqError:
        return True
    with suppress(BatchqError):
        client.cancel("never")
    return False


@fault
def test_a_results_file_is_whole_or_not_there(own_scene: Scene, tmp_path: Path) -> None:
    job = working(own_scene, "gevent", 60)
    job.wait(60)
    out = tmp_path / "out.jsonl"
    out.write_text("what was there\n")
    command = [BATCHQ, "results", job.id, "-o", str(out)]
    environment = {**os.environ, "BATCHQ_REDIS_URL": own_scene.fleet.url}
    full = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000)),
    )
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert (out.read_text(), [one.name for one in tmp_path.glob("*out*")]) == (
        "what was there\n",
        ["out.jsonl"],
    )
    assert subprocess.run(command, env=environment, timeout=60).returncode == 0
    assert len(out.read_text().splitlines()) == 60
    own_scene.check(job, "F24", "disk of the results file full")


# -- full -----------------------------------------------------------------------------------------------------


@fault
@pytest.mark.parametrize("most", [1, 8])
def test_a_server_that_takes_no_more_connections(
    own_scene: Scene, own_server: RedisServer, pool: str, most: int
) -> None:
    job = working(own_scene, pool)
    with redis.Redis(port=own_server.port, single_connection_client=True) as mine:
        usual = mine.config_get("maxclients")["maxclients"]
        mine.config_set("maxclients", most)
        mine.client_kill_filter(_type="normal", skipme=True)
        until(lambda: "max number of clients" in own_scene.fleet.logs(), 60)
        mine.config_set("maxclients", usual)
    check(own_scene, job, "F38", f"{most} connections in all", extra_calls=SLOTS[pool])


@fault
def test_a_worker_that_may_open_nothing_more(own_scene: Scene, own_server: RedisServer) -> None:
    """On gevent; on prefork Celery gives its worker up, which then has to be killed, as in test_worker_deaths.py."""
    emulator = own_scene.use_gemini(latency_s=0.05)
    worker = own_scene.start("gevent")
    own_scene.until_alive(1)
    job = own_scene.ask(300)
    own_scene.until_calls(own_scene.moment(300))
    usual = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (4, usual[1]))
    own_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    began = emulator.stats()["uptime_s"]
    until(lambda: emulator.stats()["uptime_s"] > began + 3)  # what it would connect anew it cannot
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, usual)
    check(own_scene, job, "F38", "no file descriptor left for 3 s", extra_calls=SLOTS["gevent"])
    assert "Too many open files" in own_scene.fleet.logs()
