"""A gate hands out permits in order, at their slots, and gives back what was not used. Real threads, real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from batchq.core.limits import QuotaLimits
from batchq.errors import StoreUnavailable
from batchq.flow.gate import Gate
from batchq.flow.holds import Holds
from batchq.flow.permit import Permit, TooLarge, TooLong
from batchq.store.database import Database
from batchq.store.quotas import QuotaStore

Make = Callable[..., Gate]


@pytest.fixture
def store(database: Database) -> QuotaStore:
    return QuotaStore(database)


@pytest.fixture
def make(store: QuotaStore) -> Make:
    def make(limits: QuotaLimits, *, owner: str = "me", slots: int = 50, workers: int = 1) -> Gate:
        holds = Holds(store, slots)
        return Gate(["q"], [limits], store, owner, holds, workers=lambda: workers, stopping=lambda: False)

    return make


def eventually(what: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.02)


def wait_in_threads(gate: Gate, n: int, patience_s: float = 10.0) -> list[tuple[float, object]]:
    """When each of n tasks, one after the other, got what."""
    got: list[tuple[float, object]] = []

    def task() -> None:
        answer = gate.wait(patience_s)
        got.append((time.monotonic(), answer))

    threads = [threading.Thread(target=task) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return got


def test_permits_go_out_at_their_slots_in_few_calls(make: Make, database: Database) -> None:
    gate = make(QuotaLimits(requests_per_minute=1_200))
    database.command("CONFIG", "RESETSTAT")
    began = time.monotonic()
    got = wait_in_threads(gate, 40)
    assert all(isinstance(answer, Permit) for _, answer in got)
    assert 1.7 <= got[-1][0] - began <= 15, "40 at 20 a second, more on a busy machine"
    draws = database.command("INFO", "commandstats")["cmdstat_info"]["calls"]
    assert draws <= 30, "in blocks"


def test_eight_busy_workers_ask_once_for_five_items(make: Make, database: Database) -> None:
    limits = QuotaLimits(requests_per_minute=6_000)
    gates = [make(limits, owner=f"w{n}", workers=8) for n in range(8)]
    left, ended = iter(range(400)), threading.Event()

    def tasks(gate: Gate) -> None:
        for _ in left:  # as many as its window has wait at once, and each call takes a while
            permit = gate.wait(20)
            assert isinstance(permit, Permit)
            ended.wait(0.1)
            gate.done(permit, None, answered=True)

    database.command("CONFIG", "RESETSTAT")
    threads = [threading.Thread(target=tasks, args=(gate,)) for gate in gates for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    draws = database.command("INFO", "commandstats")["cmdstat_info"]["calls"]
    assert draws <= 0.2 * 400 + len(gates), "the first ones of each ask to learn the pace"


def test_two_processes_share_the_pace(make: Make, store: QuotaStore) -> None:
    gates = [make(QuotaLimits(requests_per_minute=1_200), owner=owner, workers=2) for owner in "ab"]
    got: list[list[tuple[float, object]]] = [[], []]
    threads = [
        threading.Thread(target=lambda n=n: got[n].extend(wait_in_threads(gates[n], 20))) for n in range(2)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    ends = [max(at for at, _ in one) - began for one in got]
    assert min(ends) > 1.0, "neither got all of its permits before the other"
    assert max(ends) < 15


def test_a_pack_is_one_call_in_flight_and_many_requests(make: Make, store: QuotaStore) -> None:
    gate = make(QuotaLimits(requests_per_minute=60_000))
    kept, unused = gate.wait(5, size=80), gate.wait(5, size=30)
    assert isinstance(kept, Permit)
    assert isinstance(unused, Permit)
    view = store.view("q", live=True)
    assert (view.used_requests, view.in_flight) == (110, 2)
    gate.unused(unused)
    eventually(lambda: store.view("q", live=True).used_requests == 80)


def test_what_was_not_used_and_what_ended_is_told(make: Make, store: QuotaStore) -> None:
    gate = make(QuotaLimits(tokens_per_minute=10_000))
    first, second = gate.wait(5, 400), gate.wait(5, 400)
    assert isinstance(first, Permit)
    assert isinstance(second, Permit)
    assert store.view("q", live=True).in_flight == 2
    gate.done(first, 150, answered=True)
    gate.unused(second)

    def settled() -> bool:
        view = store.view("q", live=True)
        return (view.used_requests, view.used_tokens, view.in_flight) == (1, 150, 0)

    eventually(settled)


def test_whoever_loses_patience_leaves_with_an_estimate_and_takes_nothing(
    make: Make, store: QuotaStore
) -> None:
    gate = make(QuotaLimits(requests_per_minute=6))
    assert isinstance(gate.wait(5), Permit)
    left = gate.wait(0.5)
    assert isinstance(left, TooLong)
    assert left.due_ms >= 1_000
    eventually(lambda: store.view("q", live=True).used_requests == 1)


def test_an_item_too_large_is_told_apart_and_one_that_only_may_be_goes(make: Make) -> None:
    gate = make(QuotaLimits(tokens_per_minute=1_000))
    assert gate.wait(5, 5_000, 4_000) == TooLarge("q", 1_000, 4_000)
    assert isinstance(gate.wait(5, 1_300, 900), Permit), "drawn as the whole minute"


def test_a_hold_ends_the_waiting_of_those_without_patience_and_lifting_it_is_noticed(
    make: Make, store: QuotaStore
) -> None:
    gate = make(QuotaLimits(requests_per_minute=6_000))
    assert isinstance(gate.wait(5), Permit)
    store.refuse("q", "hold", 3_600_000, QuotaLimits())
    held = gate.wait(20)
    assert isinstance(held, TooLong)
    assert (held.binding, held.due_ms > 3_000_000) == ("hold", True)
    store.resume("q")
    eventually(lambda: isinstance(gate.wait(0.2), Permit), within_s=2.0)


def test_a_pause_by_hand_stops_a_gate_within_two_seconds(make: Make, store: QuotaStore) -> None:
    gate = make(QuotaLimits(requests_per_minute=6_000))
    assert isinstance(gate.wait(5), Permit)
    store.pause("q")
    eventually(lambda: not isinstance(gate.wait(0.3), Permit), within_s=2.0)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("unheard of")])
def test_a_gate_draws_on_after_whatever_went_wrong_once(store: QuotaStore, error: Exception) -> None:
    trouble: list[Exception] = []

    def workers() -> int:
        if trouble:
            raise trouble.pop()
        return 1

    limits = [QuotaLimits(requests_per_minute=6_000)]
    gate = Gate(["q"], limits, store, "me", Holds(store, 50), workers=workers, stopping=lambda: False)
    assert isinstance(gate.wait(5), Permit)
    trouble.append(error)
    assert all(isinstance(answer, Permit) for _, answer in wait_in_threads(gate, 5))
    assert not trouble, "it was met"


def test_half_of_the_slots_wait_where_two_quotas_have_work(store: QuotaStore) -> None:
    holds = Holds(store, 10)
    assert [holds.enter("a") for _ in range(11)] == [True] * 10 + [False], "alone it may have them all"
    assert [holds.enter("b") for _ in range(6)] == [True] * 5 + [False]
    for _ in range(6):
        holds.leave("a")
    assert [holds.enter("a") for _ in range(2)] == [True, False], "beside another, half"


def test_a_jobs_own_limit_holds_up_no_other_job_of_its_model(store: QuotaStore) -> None:
    ended = threading.Event()
    holds = Holds(store, 4)

    def gate(quotas: dict[str, QuotaLimits]) -> Gate:
        limits = list(quotas.values())
        return Gate(list(quotas), limits, store, "me", holds, workers=lambda: 1, stopping=ended.is_set)

    model = {"q": QuotaLimits(requests_per_minute=60_000)}
    slow, other = gate({"job:1": QuotaLimits(requests_per_minute=1), **model}), gate(model)
    assert isinstance(slow.wait(5), Permit)
    waiting = [threading.Thread(target=slow.wait, args=(20,)) for _ in range(4)]
    for thread in waiting:
        thread.start()
    try:
        eventually(lambda: not holds.enter("job:1 q"))  # all slots wait for it
        assert isinstance(other.wait(5), Permit)
    finally:
        ended.set()
        for thread in waiting:
            thread.join(10)


def test_a_call_as_large_as_a_minute_keeps_its_turn_beyond_its_patience(
    make: Make, store: QuotaStore
) -> None:
    """Else the small ones of other gates would fill the minute again each time it goes back."""
    gate = make(QuotaLimits(tokens_per_minute=1_000))
    small = gate.wait(5, 100)
    assert isinstance(small, Permit)
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(gate.wait(0.5, 1_000)))
    waiting.start()
    waiting.join(2.0)
    assert waiting.is_alive(), "what comes free is kept for it"
    gate.unused(small)
    waiting.join(10)
    assert [type(one) for one in got] == [Permit]
