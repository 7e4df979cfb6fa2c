"""Client and AsyncClient in other people's processes: threads, forks, event loops, their own Celery."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path

import pytest
from fleet_kit import OPERATIONS, Fleet, eventually

from batchq import AsyncClient, AsyncJob, Client, Item, Job, JobState, WaitTimeout
from batchq.async_client import AsyncQuotas
from batchq.dispatch import make_app
from batchq.errors import ConfigurationError, InputError, NotFound
from batchq.flow.quotas import Quotas
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.wiring import Place


def items(n: int, **fields: object) -> list[Item]:
    return [Item(f"i{number}", {"n": number, **fields}) for number in range(n)]


@pytest.fixture
def aclient(client: Client) -> AsyncClient:
    return AsyncClient(place=Place(client.settings, embedded=True))


def public(kind: type) -> dict[str, object]:
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("theirs", "ours", "apart"),
    [
        (Client, AsyncClient, {"walk", "aclose"}),  # the parts of this process; another name of close
        (Job, AsyncJob, set()),
        (Quotas, AsyncQuotas, set()),
    ],
    ids=lambda kind: kind.__name__ if isinstance(kind, type) else "",
)
def test_the_asynchronous_twin_has_exactly_the_methods_and_their_arguments(
    theirs: type, ours: type, apart: set[str]
) -> None:
    sync, twin = public(theirs), public(ours)
    assert sync.keys() - apart == twin.keys() - apart
    for name in sync.keys() - apart:
        method = sync[name]
        if not callable(method):
            continue
        expected = {one: p.default for one, p in signature(method).parameters.items() if one != "stop"}
        found = {one: p.default for one, p in signature(twin[name]).parameters.items()}  # type: ignore[arg-type]
        assert found == expected, f"{name}; stop is what cancelling the task does"
        assert twin[name].__doc__ or not method.__doc__, name


def test_every_method_of_the_client_can_be_awaited(fleet: Fleet, aclient: AsyncClient) -> None:
    fleet.start()

    async def feed() -> AsyncIterator[Item]:
        for item in items(50):
            await asyncio.sleep(0)
            yield item

    async def main() -> None:
        async with aclient:
            job = await aclient.submit(feed(), operation="work", metadata={"from": "a loop"})
            seen = [result.data async for result in job.results(wait=True)]
            assert seen == [{"answer": number} for number in range(50)]
            assert (await job.wait(10)).state is JobState.COMPLETED
            assert [result.id async for result in aclient.results(job.id)] == [f"i{n}" for n in range(50)]
            assert [record.id async for record in aclient.list()] == [job.id]
            assert (await (await aclient.get(job.id)).status()).metadata == {"from": "a loop"}

            bad = await aclient.submit(items=items(2, fail=9, error="refused"), operation="work")
            await bad.wait(10)
            assert [letter.id async for letter in aclient.dead_letters(bad.id)] == ["i0", "i1"]
            assert await aclient.purge(bad.id, ids=["i0"]) == 1
            with pytest.raises(TypeError, match="reasons"):
                await aclient.redrive(bad.id, reasons="REFUSED")  # type: ignore[call-arg]
            assert [one.id async for one in aclient.dead_letters(bad.id, ids=["i1", "i0"])] == ["i1"]
            assert await aclient.redrive(bad.id) == 1
            await bad.wait(10)

            slow = await aclient.submit(items(1, ms=60_000), operation="work")
            await slow.pause("a look")
            assert (await slow.status()).state is JobState.PAUSED
            await slow.resume()
            await slow.cancel()
            assert (await slow.status()).state is JobState.CANCELLED
            await aclient.delete(bad.id)
            with pytest.raises(NotFound):
                await aclient.get(bad.id)
            assert [beat.pool for beat in await aclient.fleet()] == ["gevent"]
            paused = await aclient.quotas.pause("model:test:gemini-2.5-flash")
            assert [one.name for one in await aclient.quotas.show()] == [paused.name]

    asyncio.run(main())


def test_calls_go_on_while_many_wait_and_waiting_can_be_given_up(aclient: AsyncClient) -> None:
    async def main() -> None:
        jobs = [await aclient.submit(items(2), operation="work") for _ in range(30)]
        waits = [asyncio.create_task(job.wait()) for job in jobs]
        pulls = [asyncio.create_task(anext(job.results(wait=True))) for job in jobs]
        with pytest.raises(WaitTimeout):
            await jobs[0].wait(0.1)
        async with asyncio.timeout(10):
            assert (await jobs[7].status()).pending == 2
        assert threading.active_count() > 60
        for task in (*waits, *pulls):
            task.cancel()
        ended = await asyncio.gather(*waits, *pulls, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended)
        await aclient.close()

    asyncio.run(main())
    eventually(lambda: threading.active_count() < 20, 10)


def test_a_submission_that_nobody_awaits_any_more_is_broken_off(aclient: AsyncClient, client: Client) -> None:
    async def endless() -> AsyncIterator[Item]:
        yield Item("first", {"n": 1})
        await asyncio.sleep(3_600)

    def slow() -> Iterator[Item]:
        for number in range(10_000):
            time.sleep(0.01)
            yield Item(f"i{number}", {"n": number})

    async def main() -> None:
        for rows in (endless(), slow()):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await aclient.submit(rows, operation="work")
        with pytest.raises(InputError, match="put it in a list"):
            await aclient.submit("one prompt")
        await aclient.close()

    asyncio.run(main())
    eventually(lambda: not client.walk.jobs.due(10) and not _keys(client), 5)


def _keys(client: Client) -> list[bytes]:
    database = Database(client.settings.store_url)
    try:
        return list(database.command("KEYS", "batchq:{*"))
    finally:
        database.close()


def test_one_client_serves_twenty_threads(client: Client) -> None:
    def submit(number: int) -> str:
        job = client.submit(items(3), operation="work", idempotency_key=f"key-{number % 40}")
        assert job.status().total == 3
        return job.id

    with ThreadPoolExecutor(20) as pool:
        ids = list(pool.map(submit, range(80)))
    assert len(set(ids)) == 40
    assert len(list(client.list())) == 40


FORKS = """
import os, sys, threading, time
from batchq import Client, Item
from batchq.wiring import Place
from batchq.settings import Settings

client = Client(place=Place(Settings(redis_url=sys.argv[1], include=("fleet_operations",)), embedded=True))
rows = [Item("a", {"n": 1})]
first = client.submit(rows, operation="work")
done = threading.Event()

def hammer():
    while not done.is_set():
        client.submit(rows, operation="work")
        first.status()

threads = [threading.Thread(target=hammer) for _ in range(20)]
for thread in threads:
    thread.start()
children = []
for number in range(8):
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job = client.submit(rows, operation="work", job_id=f"child-{number}")
            code = 0 if job.status().total == 1 and first.status().total == 1 else 2
        finally:
            os._exit(code)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
done.set()
for thread in threads:
    thread.join()
assert first.status().total == 1
print(codes)
"""


def test_children_forked_in_the_midst_of_calls_have_connections_and_locks_of_their_own(
    fleet: Fleet, client: Client
) -> None:
    assert run(FORKS, fleet) == str([0] * 8)
    assert {f"child-{number}" for number in range(8)} <= {record.id for record in client.list()}


FOREIGN = """
import sys, warnings
warnings.simplefilter("error")
import celery, kombu.pools
from celery import Celery, current_app, shared_task

shop = Celery("shop", broker="memory://")
shop.conf.task_always_eager = True

@shared_task
def charge():
    return "charged by " + current_app.main

kombu.pools.set_limit(7)
before = dict(kombu.pools.connections), dict(kombu.pools.producers), kombu.pools.get_limit()
from batchq import Client, Item
from batchq.wiring import Place
from batchq.settings import Settings

client = Client(place=Place(Settings(redis_url=sys.argv[1], include=("fleet_operations",)), embedded=True))
job = client.submit([Item("a", {"n": 1})], operation="work")
assert job.status().total == 1
assert (dict(kombu.pools.connections), dict(kombu.pools.producers), kombu.pools.get_limit()) == before
assert celery.current_app._get_current_object() is shop
assert charge.delay().get() == "charged by shop"
assert charge.app is shop
client.close()
print("fine")
"""
JUNK = {
    "CELERY_BROKER_URL": "redis://nobody.invalid:1/0",
    "CELERY_RESULT_BACKEND": "redis://nobody.invalid:1/0",
    "CELERY_BROKER_READ_URL": "redis://nobody.invalid:1/0",
    "CELERY_BROKER_WRITE_URL": "redis://nobody.invalid:1/0",
    "CELERY_LOADER": "no.such:Loader",
    "CELERY_CONFIG_MODULE": "no_such_module",
    "DJANGO_SETTINGS_MODULE": "no_such_settings",
}


def test_in_the_process_of_another_celery_app_nothing_of_it_is_touched(fleet: Fleet) -> None:
    # what a bare Celery app stumbles over itself
    not_for_it = ("CELERY_LOADER", "CELERY_CONFIG_MODULE", "DJANGO_SETTINGS_MODULE")
    environ = {name: value for name, value in JUNK.items() if name not in not_for_it}
    assert run(FOREIGN, fleet, **environ) == "fine"


PLAIN = """
import sys
from batchq import Client, Item
from batchq.wiring import Place
from batchq.settings import Settings

client = Client(place=Place(Settings(redis_url=sys.argv[1], include=("fleet_operations",)), embedded=True))
print(client.submit([Item("a", {"n": 1})], operation="work").status().total)
"""


def test_variables_of_other_celery_apps_and_of_django_are_ignored(fleet: Fleet) -> None:
    assert run(PLAIN, fleet, **JUNK) == "1"


def test_the_banner_of_a_worker_names_the_broker_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere:1/0")
    app = make_app(Settings(redis_url="redis://here:6379/2"))
    shown = app.connection().as_uri()
    assert "here:6379/2" in shown
    assert "elsewhere" not in shown


def run(script: str, fleet: Fleet, **environ: str) -> str:
    """What a program of somebody else's prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, fleet.url],
        cwd=OPERATIONS.parents[1],
        env={**fleet.environment, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


SHOP = """
import os, time
from celery import Celery
from batchq.core.redis_url import parse

address = parse(os.environ["SHOP_URL"])
app = Celery("shop", broker=address.broker_url(), backend=address.backend_url())
app.conf.task_acks_late = True

@app.task(name="shop.pack")
def pack():
    with open(os.environ["SHOP_LOG"], "a") as log:
        log.write("packing\\n")
    time.sleep(5)
    return "packed"
"""
HASTY = """
from workers import app
app.conf.broker_transport_options["visibility_timeout"] = 1  # far shorter than the settings allow
"""


def test_a_long_task_of_another_app_on_the_same_server_runs_once(
    fleet: Fleet, client: Client, database: Database
) -> None:
    """Workers of ours give out again what is unacknowledged for long: of theirs, and of theirs only."""
    (fleet.folder / "shop.py").write_text(SHOP)
    (fleet.folder / "hasty.py").write_text(HASTY)
    fleet.extra |= {
        "SHOP_URL": fleet.url,
        "SHOP_LOG": str(fleet.folder / "shop.log"),
        "PYTHONPATH": os.pathsep.join((str(OPERATIONS), str(fleet.folder))),
    }
    with (fleet.folder / "shop-worker.log").open("wb") as log:
        shop = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "shop", "worker", "-P", "solo", "-n", "shop@%h"],
            cwd=fleet.folder,
            env=fleet.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        fleet.start("gevent", 5, app="hasty")
        eventually(lambda: client.fleet())
        sent = subprocess.run(
            [sys.executable, "-c", "import shop; print(shop.pack.delay().get(timeout=30))"],
            cwd=fleet.folder,
            env=fleet.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert sent.stdout.strip() == "packed", sent.stderr
        assert Path(fleet.extra["SHOP_LOG"]).read_text() == "packing\n"
    finally:
        os.killpg(shop.pid, signal.SIGKILL)
        shop.wait()


def test_a_client_says_what_is_missing_when_nothing_tells_it_where_the_store_is() -> None:
    for make in (Client, AsyncClient):
        with pytest.raises(ConfigurationError, match="BATCHQ_REDIS_URL"):
            make()
