"""What an operation says of itself holds on real workers, below what is set, also where nobody else has its code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet_kit import OPERATIONS, Fleet, eventually, settings_on

from batchq import Client
from batchq.client import Job
from batchq.core.lifecycle import ItemState
from batchq.embedded import EmbeddedServer
from batchq.store.database import Database
from batchq.wiring import Place

pytestmark = pytest.mark.fault  # two workers, one after the other
WAIT_S = 90.0  # a deadline for a machine with other work
PARCELS = 30


class Counter:
    """A worker that dispatches and has none of the operations, and one that has them."""

    def __init__(self, fleet: Fleet, client: Client) -> None:
        self.fleet, self.client = fleet, client
        fleet.extra["BATCHQ_INCLUDE"] = ""
        # those of the operations' names so that what is sent there is lost, counter so that some of it comes here
        fleet.start("gevent", 20, "-Q", "batchq.control,batchq.weigh,batchq.stubborn,batchq.counter")
        eventually(lambda: len(client.fleet()) == 1, WAIT_S)  # it is the one that sweeps
        fleet.extra["BATCHQ_INCLUDE"] = "declared_operations"
        fleet.extra["BATCHQ_QUEUES__COUNTER__CONCURRENCY"] = "2"
        fleet.extra["BATCHQ_OPERATIONS__STUBBORN__QUEUE"] = "elsewhere"
        fleet.extra["BATCHQ_OPERATIONS__OVERRULED__MAX_ATTEMPTS"] = "1"
        fleet.start("gevent", 20, "-Q", "batchq.counter,batchq.elsewhere")
        eventually(lambda: len(client.fleet()) == 2, WAIT_S)


@pytest.fixture(scope="module")
def counter(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    database = Database(server.url)
    database.command("FLUSHALL")
    database.close()
    folder = tmp_path_factory.mktemp("counter")
    fleet = Fleet(server.url, folder)
    fleet.calls_file.touch()
    settings = settings_on(server.url).model_copy(update={"include": ("declared_operations",)})
    with pytest.MonkeyPatch.context() as patch, Client(place=Place(settings, embedded=True)) as client:
        patch.setenv("FLEET_CALLS", str(fleet.calls_file))
        patch.syspath_prepend(str(OPERATIONS))
        try:
            yield Counter(fleet, client)
        finally:
            fleet.stop()


@pytest.fixture(scope="module")
def weighed(counter: Counter) -> Job:
    rows = [{"id": f"p-{n}", "input": {"weight": n}} for n in range(PARCELS)]
    rows += [{"id": "rush", "input": {"weight": 1, "rush": True}}, {"id": "bad", "input": {"weight": "much"}}]
    job = counter.client.submit(rows, operation="weigh")
    job.wait(WAIT_S)
    return job


def test_its_queue_is_found_by_who_does_not_know_it_and_its_limits_are_kept(
    counter: Counter, weighed: Job
) -> None:
    assert weighed.status().succeeded == PARCELS
    view = counter.client.quotas.get("queue:counter")
    assert (view.configured.requests_per_minute, view.configured.concurrency) == (1_200, 2)
    assert view.used_requests == PARCELS + 1
    at_once = most = 0
    for words in counter.fleet.lines():
        if words[1].startswith(("p-", "rush")):
            at_once += 1 if words[0] == "call" else -1
            most = max(most, at_once)
    assert most <= 2, "the setting stands over the 8 that it says"
    times = [float(words[2]) for words in counter.fleet.lines() if len(words) == 3]
    assert max(sum(first <= at < first + 1 for at in times) for first in times) <= 32, "20 a second"


def test_one_item_that_is_not_of_its_type_fails_alone_and_by_field(weighed: Job) -> None:
    found = {result.id: result for result in weighed.results()}
    assert found["p-7"].data == {"cents": 70}
    assert {found[f"p-{n}"].attempts for n in range(PARCELS)} == {1}, "who has not the code passes them on"
    bad, rush = found["bad"], found["rush"]
    assert (bad.status, bad.attempts, bad.error.status) == (ItemState.FAILED, 0, "INVALID_INPUT")
    assert bad.error.message.startswith("weight: Input should be a valid integer")
    assert (rush.status, rush.attempts, rush.error.status) == (ItemState.FAILED, 1, "SCHEMA_MISMATCH")
    assert rush.error.message == (
        "operation weigh returned what is not of its type: cents: 'free' is not of type 'integer'"
    )


def test_its_word_decides_what_is_tried_again_and_how_often_unless_a_setting_does(counter: Counter) -> None:
    rows = [
        {"id": "once", "input": {"fail": 1, "error": "KeyError"}},
        {"id": "ever", "input": {"fail": 9, "error": "KeyError"}},
        {"id": "gone", "input": {"fail": 1, "error": "OSError"}},
        {"id": "never", "operation": "overruled", "input": {}},
    ]
    job = counter.client.submit(rows, operation="stubborn")
    job.wait(WAIT_S)
    came = {result.id: (result.status, result.attempts) for result in job.results()}
    assert came == {
        "once": (ItemState.SUCCEEDED, 2),
        "ever": (ItemState.DEAD_LETTER, 3),
        "gone": (ItemState.FAILED, 1),
        "never": (ItemState.DEAD_LETTER, 1),
    }
    assert {result.id: result.data for result in job.results()}["once"] == 2
