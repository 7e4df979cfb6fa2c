"""What stands in the workers' logs: items when asked for, slow ones always, and no prompt, answer or key ever."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from fleet_kit import Fleet, eventually
from services_world import call, send

from batchq import Client, Item
from batchq.core import latency
from batchq.core.discreet import Discreet, trace_of
from batchq.core.lifecycle import ItemState
from batchq.core.records import Outcome
from batchq.emulator import Emulator, EmulatorOptions, expected_text
from batchq.flow.item_log import ItemLog

PROMPT = "quokka-lantern-5520"
KEY = "AIza-walnut-key-for-tests-9413"


@pytest.fixture
def gemini(fleet: Fleet) -> Iterator[Emulator]:
    with Emulator(EmulatorOptions(directives=True)) as emulator:
        fleet.extra |= {"GOOGLE_GEMINI_BASE_URL": emulator.url, "GEMINI_API_KEY": KEY}
        yield emulator


@pytest.mark.parametrize(("pool", "slots"), [("gevent", 20), ("prefork", 2)])
def test_no_log_holds_a_prompt_an_answer_or_a_key_however_much_is_logged(
    fleet: Fleet, client: Client, gemini: Emulator, pool: str, slots: int
) -> None:
    fleet.extra |= {
        "BATCHQ_LOG_ITEMS": "1",
        "BATCHQ_INCLUDE": "fleet_operations,services_operations",
        "PYTHONPATH": f"{fleet.environment['PYTHONPATH']}:{Path(__file__).parent}",
    }
    fleet.start(pool, slots, level="DEBUG")
    import_module("services_operations")  # whoever submits must know the operation too
    rows = [(f"q{number}", f"{PROMPT} {number}") for number in range(10)]
    rows += [("blocked", f"{PROMPT} [[emulate:blocked]]"), ("broken", f"{PROMPT} [[emulate:400]]")]
    asked = client.submit(rows, preflight=False)
    strange = client.submit(
        [Item("raises", {"quote": PROMPT}), Item("refuses", {"refuse": PROMPT})], operation="quoting"
    )
    sent = send(
        fleet.url,
        [
            call("batchq.submit", items=[[f"m{number}", f"{PROMPT} m{number}"] for number in range(3)]),
            call("batchq.submit", items=[{"promt": PROMPT}], metadata={"note": PROMPT}),
            call("batchq.unknown", text=PROMPT),
        ],
    )
    asked.wait(30)
    client.wait(sent[0]["result"], 30)
    strange.wait(30)
    assert (asked.status().succeeded, client.status(sent[0]["result"]).succeeded) == (10, 3)
    eventually(lambda: '"m2" of job' in fleet.logs() and '"refuses" of job' in fleet.logs())
    logs = fleet.logs()
    assert PROMPT not in logs
    assert expected_text(f"{PROMPT} 3") not in logs
    assert KEY not in logs
    told = re.findall(r'item "(\w+)" of job (\S+): (\w+) in \d+ ms, (\d+) attempts, waited \d+ ms', logs)
    assert sorted(name for name, job_id, *_ in told if job_id == asked.id) == sorted(id for id, _ in rows)
    assert ("q3", asked.id, "succeeded", "1") in told


def test_items_have_their_lines_when_asked_for_at_celerys_own_level_too(fleet: Fleet, client: Client) -> None:
    fleet.extra["BATCHQ_LOG_ITEMS"] = "1"
    fleet.start(level="WARNING")
    job = client.submit([Item(f"i{n}", {"n": n}) for n in range(3)], operation="work")
    job.wait(30)
    eventually(lambda: fleet.logs().count(f" of job {job.id}: succeeded in ") == 3)


def test_a_worker_says_nothing_of_single_items_unless_told_to_but_of_slow_ones(
    fleet: Fleet, client: Client
) -> None:
    fleet.start()
    rows = [Item(f"i{n}", {"n": n}) for n in range(30)]
    job = client.submit([Item("late", {"n": 0, "ms": 2_000}), *rows], operation="work")
    job.wait(30)
    eventually(lambda: "is through, 31 items" in fleet.logs())
    (told,) = [line for line in fleet.logs().splitlines() if ' item "' in line]
    found = re.search(r'WARNING.* slow: item "late" of job (\S+): succeeded in (\d+) ms, 1 attempts', told)
    assert found is not None, told
    assert found.group(1) == job.id
    assert int(found.group(2)) >= 2_000


def settled(log: ItemLog, id: str, duration_ms: int) -> None:
    outcome = Outcome(ItemState.SUCCEEDED, attempts=2, duration_ms=duration_ms, waited_ms=7)
    log.settled("job-1", lambda: id, outcome, latency.bucket_of(duration_ms))


def test_slow_items_are_told_of_always(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "batchq")
    log = ItemLog(every=False)
    settled(log, "early", 60_000)  # nothing to compare it with
    for number in range(100):
        settled(log, f"i{number}", 1_000 + number % 7)
    settled(log, "brisk", 3_000)
    settled(log, "slow", 4_000)
    assert [record.getMessage() for record in caplog.records] == [
        'slow: item "slow" of job job-1: succeeded in 4000 ms, 2 attempts, waited 7 ms'
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_calls_of_less_than_a_second_are_never_told_as_slow(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "batchq")
    log = ItemLog(every=False)
    for number in range(100):
        settled(log, f"i{number}", 5)
    settled(log, "held up", 900)
    assert caplog.records == []


def test_an_id_cannot_pose_as_another_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "batchq")
    settled(ItemLog(every=True), "a\nERROR\x1b[31m\u2028\x9b\x7f", 5)
    (text,) = [record.getMessage() for record in caplog.records]
    assert text.startswith(r'item "a\nERROR\u001b[31m\u2028\u009b\u007f" of job job-1: ')
    assert text.isascii()
    assert text.isprintable()


def test_a_key_that_a_library_writes_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    handler = logging.StreamHandler()
    handler.addFilter(Discreet([KEY]))
    record = logging.LogRecord("lib", logging.INFO, "f", 1, "sent with %s and %d", (KEY, 5), None)
    assert handler.filter(record)
    assert record.getMessage() == "sent with *** and 5"
    with pytest.raises(ValueError, match=KEY) as raised:
        raise ValueError(KEY)
    failed = logging.LogRecord("lib", logging.ERROR, "f", 1, "failed", (), raised._excinfo)
    handler.filter(failed)
    assert "ValueError: ***" in handler.format(failed)
    assert KEY not in trace_of(raised.value)
    assert "test_a_key_that_a_library_writes_is_masked" in trace_of(raised.value)
