"""A job's cost limit: no call begins that the limit might not cover, counting what is set aside for those under way."""

from __future__ import annotations

import pytest
from store_world import LEASE_MS, World

from batchq.core.lifecycle import ItemByte, JobState
from batchq.core.records import Usage
from batchq.errors import Conflict, InputError
from batchq.store.leases import Bid, Lease, ReleaseKind

CENT = 0.01
BID = Bid(input_nano=1_000_000, token_nano=1_000.0, most_output=1_000)  # $0.001 in, at most $0.001 out
UPPER = 0.002


def stored(world: World, items: int, max_cost: float) -> dict[int, Lease]:
    world.store([(0, range(items))], max_cost=max_cost)
    return world.leases(world.take(), begun=False)


def reserve(world: World, *leases: Lease, bid: Bid = BID, worker: str = "w1") -> list[str]:
    return world.items.reserve("job", worker, [(lease, bid) for lease in leases])


def begin(world: World, *leases: Lease) -> None:
    assert world.items.mark_begun("job", "w1", leases) == ["ok"] * len(leases)


def reserved(world: World) -> float:
    return int(world.field("reserved") or 0) / 1e9


def test_calls_begin_only_while_the_limit_covers_what_is_spent_and_under_way(world: World) -> None:
    leases = stored(world, 8, max_cost=CENT)
    answers = reserve(world, *leases.values())
    assert answers == ["ok"] * 5 + ["wait"] * 3  # what is under way may yet cost less
    assert reserved(world) == pytest.approx(CENT)
    assert world.record.state is JobState.PROCESSING
    begin(world, *list(leases.values())[:5])
    for at in range(5):
        world.settle(leases[at], usage=Usage(1_000, 10, 0), cost_usd=0.0011)
    assert reserved(world) == 0
    assert reserve(world, leases[5], leases[6]) == ["ok", "ok"]


def test_the_job_is_held_before_the_limit_is_passed_and_goes_on_with_a_higher_one(world: World) -> None:
    leases = stored(world, 6, max_cost=CENT)
    assert reserve(world, *list(leases.values())[:5]) == ["ok"] * 5
    for at in range(5):
        world.settle(leases[at], usage=Usage(1_000, 990, 0), cost_usd=0.00199)
    assert reserve(world, leases[5]) == ["held"]
    record = world.record
    assert (record.state, record.cost_usd) == (JobState.PAUSED, pytest.approx(0.00995))
    assert record.reason is not None
    assert record.reason.startswith("the cost limit of $0.01 is reached: $0.00995 are spent")
    assert "--max-cost" in record.reason
    assert record.history[-1].change == "paused"
    assert record.history[-1].why == record.reason
    world.release(leases[5])

    with pytest.raises(InputError, match=r"\$0\.0100"):
        world.jobs.unhold("job", None, "person", max_cost=0.00995)
    assert world.record.state is JobState.PAUSED
    assert world.jobs.unhold("job", None, "person", max_cost=0.012)
    assert (world.record.state, world.record.max_cost) == (JobState.PROCESSING, 0.012)
    again = world.leases(world.take(), begun=False)
    assert reserve(world, again[5]) == ["ok"]


def test_a_person_who_resumes_without_a_higher_limit_is_told_again(world: World) -> None:
    leases = stored(world, 2, max_cost=0.0015)
    world.settle(leases[0], cost_usd=0.001)
    assert reserve(world, leases[1]) == ["held"]
    assert reserve(world, leases[1]) == ["held"]
    assert world.jobs.unhold("job", None, "person")
    assert reserve(world, leases[1]) == ["held"]
    assert [line.change for line in world.record.history] == ["submitted", "paused", "resumed", "paused"]


def test_what_was_set_aside_is_free_again_however_the_item_leaves(world: World) -> None:
    leases = stored(world, 5, max_cost=1)
    assert reserve(world, *leases.values()) == ["ok"] * 5
    assert reserve(world, leases[0]) == ["ok"]  # asked again: set aside once
    assert reserved(world) == pytest.approx(5 * UPPER)
    begin(world, *leases.values())
    world.release(leases[0], ReleaseKind.RETRY, by_message=True)
    world.release(leases[1], ReleaseKind.UNUSED)
    world.settle(leases[2])
    world.settle(leases[3], byte=ItemByte.FAILED)
    assert reserved(world) == pytest.approx(UPPER)
    world.jobs.cancel("job", by="person")
    world.release(leases[4], ReleaseKind.RETRY)
    assert reserved(world) == 0


def test_what_was_set_aside_for_a_call_lost_in_a_crash_counts_as_spent(world: World) -> None:
    leases = stored(world, 3, max_cost=0.0045)
    assert reserve(world, leases[0], leases[1]) == ["ok", "ok"]
    begin(world, leases[0])
    world.go_on(LEASE_MS + 5_000)
    assert world.heal().lost_calls == 1
    assert (reserved(world), world.field("lost_nano")) == (0, "2000000")
    again = world.leases(world.take(), begun=False, worker="w2")
    assert reserve(world, again[0], again[1], worker="w2") == ["ok", "wait"]


def test_the_longest_answers_tell_what_the_next_may_cost_once_there_are_enough(world: World) -> None:
    unbounded = Bid(input_nano=0, token_nano=1_000.0, most_output=0)
    leases = stored(world, 24, max_cost=0.02)
    # unknown: 8,192 output tokens are set aside, so two fit; the third waits for what they really cost
    assert reserve(world, leases[0], leases[1], leases[2], bid=unbounded) == ["ok", "ok", "wait"]
    for at in range(20):
        world.settle(leases[at], usage=Usage(0, 100 + at, 0), cost_usd=0.0001)
    assert reserve(world, leases[20], bid=unbounded) == ["ok"]
    assert reserved(world) == pytest.approx(119e-6)


def test_a_limit_below_what_is_set_aside_for_one_call_lets_calls_go_one_at_a_time(world: World) -> None:
    unbounded = Bid(input_nano=0, token_nano=1_000.0, most_output=0)
    leases = stored(world, 3, max_cost=0.001)
    assert reserve(world, leases[0], leases[1], bid=unbounded) == ["ok", "wait"]
    world.settle(leases[0], usage=Usage(0, 10, 0), cost_usd=0.00001)
    assert reserve(world, leases[1], bid=unbounded) == ["ok"]


def test_another_owners_lease_sets_nothing_aside(world: World) -> None:
    leases = stored(world, 1, max_cost=1)
    assert reserve(world, leases[0], worker="w2") == ["stale"]
    assert reserved(world) == 0


def test_a_job_without_a_limit_gets_none_later_and_an_ended_one_no_other(world: World) -> None:
    world.store([(0, range(1))])
    with pytest.raises(InputError, match="without a cost limit"):
        world.jobs.unhold("job", None, "person", max_cost=5)
    world.settle(*world.leases(world.take()).values())
    assert world.finish() == "completed"
    with pytest.raises(Conflict):
        world.jobs.unhold("job", None, "person", max_cost=5)
