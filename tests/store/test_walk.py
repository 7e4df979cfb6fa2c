"""The walk of an item through the store, one promise a test."""

from __future__ import annotations

import threading

import pytest
from store_world import LEASE_MS, PERIOD_MS, START_MS, UNDELIVERED_MS, CheckedDatabase, World

from batchq.core.latency import bucket_of
from batchq.core.lifecycle import HoldCause, ItemByte, JobState
from batchq.core.records import Usage
from batchq.errors import Conflict
from batchq.flow.calls import Calls
from batchq.flow.ledger import Ledger
from batchq.store.keys import SCHEMA
from batchq.store.leases import ClaimRequest, ReleaseKind, ReleaseRequest, Verdict

# -- taking ---------------------------------------------------------------------------------------------------


def test_fresh_items_go_out_in_input_order_over_shards_and_under_one_ticket(world: World) -> None:
    world.store([(0, range(3)), (0, range(3, 6)), (0, range(6, 7))])
    first, second = world.take(5), world.take(5)
    assert (first.positions, second.positions) == ((0, 1, 2, 3, 4), (5, 6))
    assert second.ticket > first.ticket
    assert world.states == "ddddddd"
    assert world.counts == {"processing": 7}


def test_a_job_is_pending_until_its_first_item_goes_out(world: World) -> None:
    world.store([(0, range(2))])
    assert (world.record.state, world.record.started_at) == (JobState.PENDING, None)
    world.database.now_ms = world.now_ms + 5_000
    world.take(1)
    assert (world.record.state, world.record.started_at) == (JobState.PROCESSING, world.now_ms / 1000)


def test_the_window_is_never_overrun(world: World) -> None:
    world.store([(0, range(10))])
    assert len(world.take(100, window=4).positions) == 4
    assert world.take(100, window=4).positions == ()
    lease = world.lease(0, 1)
    assert world.take(100, window=4).positions == ()  # leased items count as well
    assert world.release(lease, ReleaseKind.RETRY, by_message=True, delay_ms=1_000).answer == "retry"
    assert world.take(100, window=4).positions == ()  # and those that wait for their retry
    assert len(world.take(100, window=6).positions) == 2
    assert world.take(100, window=3).positions == ()  # a window that shrank takes nothing back


def test_a_window_of_thousands_is_taken_in_calls_that_lua_can_answer(world: World) -> None:
    world.store([(0, range(at, at + 1_000)) for at in range(0, 9_000, 1_000)])
    taken: list[int] = []
    while positions := world.take(9_000, window=9_000).positions:
        taken += positions
    assert taken == list(range(9_000))
    assert world.counts == {"processing": 9_000}


def test_what_was_given_back_goes_before_what_is_fresh(world: World) -> None:
    world.store([(0, range(6))])
    leases = world.leases(world.take(3))
    world.release(leases[2])
    world.release(leases[0], delay_ms=1_000)
    assert world.take(2).positions == (2, 3)  # 0 is not due yet
    world.database.now_ms = world.now_ms + 1_000
    assert world.take(2).positions == (0, 4)


def test_what_was_redriven_goes_before_what_is_fresh(world: World) -> None:
    world.store([(0, range(2)), (0, range(2, 4)), (0, range(4, 6))])
    leases = world.leases(world.take(4))
    world.settle(leases[1], leases[3], byte=ItemByte.FAILED)
    assert world.redrive(1, 3) == 2
    assert world.take(1).positions == (1,)
    assert world.take(2).positions == (3, 4)
    assert world.counts == {"processing": 5, "pending": 1}


def test_what_is_redriven_before_the_place_where_the_last_redrive_got_to_is_found(world: World) -> None:
    world.store([(0, range(2)), (0, range(2, 4)), (0, range(4, 6))])
    world.settle(*world.leases(world.take()).values(), byte=ItemByte.FAILED)
    world.redrive(5)
    assert world.take().positions == (5,)
    world.redrive(4, 0)
    assert world.take(1).positions == (0,)
    assert world.take().positions == (4,)


def test_fresh_items_wait_while_too_many_came_back(world: World) -> None:
    world.store([(0, range(at, at + 200)) for at in range(0, 1_400, 200)])
    for most in (1_000, 100):
        for lease in world.leases(world.take(most, window=1_100)).values():
            world.release(lease, delay_ms=3_600_000)
    assert world.take(10, window=25).positions == ()  # 1,100 = 4 x 25 + 1,000
    assert world.take(10, window=26).positions == tuple(range(1_100, 1_110))


def test_each_lane_has_its_own_order_window_and_counts(world: World) -> None:
    world.store([(0, (0, 2)), (1, (1, 3, 5)), (0, (4, 6))])
    assert world.take(3, lane=1, window=2).positions == (2, 3)
    assert world.take(3, lane=0).positions == (0, 1, 5)
    first, second = (
        world.database.command("HMGET", world.database.job_keys("job").lane(n), "processing", "pending")
        for n in (0, 1)
    )
    assert (first, second) == ([b"3", b"1"], [b"2", b"1"])
    assert world.counts == {"processing": 5, "pending": 2}


def test_results_of_several_lanes_merge_in_input_order(world: World) -> None:
    world.store([(0, (0, 2)), (1, (1, 3, 5)), (0, (4, 6))])
    for lane in (1, 0):
        for position, lease in world.leases(world.take(lane=lane), lane=lane).items():
            world.settle(lease, text=f"at {position}", lane=lane)
    assert world.outcomes.compact("job", 1)
    assert [result.ordinal for result in world.results()] == list(range(7))
    assert [result.id for result in world.results()] == [f"item-{n}" for n in range(7)]
    assert world.texts() == ["at 0", "at 2", "at 1", "at 3", "at 5", "at 4", "at 6"]
    assert [result.input["prompt"] for result in world.results()] == [f"question {n}" for n in range(7)]


# -- claiming -------------------------------------------------------------------------------------------------


def test_asking_again_with_the_same_nonce_gives_the_same_lease(world: World) -> None:
    world.store([(0, range(1))])
    ticket = world.take().ticket
    first = world.claim_one(0, ticket, "w1", nonce="mine")
    world.go_on(1_000, "w1")
    assert world.claim_one(0, ticket, "w1", nonce="mine") == first
    assert world.record.requests == 1


def test_a_doubled_message_is_busy_while_the_first_runs_and_settled_afterwards(world: World) -> None:
    world.store([(0, range(1))])
    ticket = world.take().ticket
    lease = world.lease(0, ticket, "w1")
    assert world.claim_one(0, ticket, "w2").verdict is Verdict.BUSY
    assert world.claim_one(0, ticket, "w1").verdict is Verdict.BUSY  # another task of the same process
    world.settle(lease)
    assert world.claim_one(0, ticket, "w2").verdict is Verdict.SETTLED


def test_a_message_doubled_within_one_call_is_granted_once(world: World) -> None:
    world.store([(0, range(1))])
    ticket = world.take().ticket
    requests = [ClaimRequest(0, ticket, nonce, begun=True) for nonce in ("a", "b", "a")]
    answers = world.items.claim("job", 0, "w1", requests)
    assert [answer.verdict for answer in answers] == [Verdict.OK, Verdict.BUSY, Verdict.OK]
    assert world.record.requests == 1
    assert answers[0].lease is not None
    assert world.items.mark_begun("job", "w1", [answers[0].lease]) == ["ok"]
    assert world.settle(answers[0].lease).answers == ("ok",)


@pytest.mark.parametrize("end", ["hold", "cancel"])
def test_a_message_doubled_within_one_call_to_a_stopped_job_counts_once(world: World, end: str) -> None:
    world.store([(0, range(2))])
    ticket = world.take().ticket
    if end == "hold":
        world.jobs.hold("job", HoldCause.PERSON, "", "person")
    else:
        world.jobs.cancel("job", by="person")
    requests = [ClaimRequest(0, ticket, nonce, begun=True) for nonce in "ab"]
    answers = [answer.verdict for answer in world.items.claim("job", 0, "w1", requests)]
    if end == "hold":
        assert answers == [Verdict.PAUSED, Verdict.SUPERSEDED]
        assert world.counts == {"pending": 1, "processing": 1}
    else:
        assert answers == [Verdict.CANCELLED, Verdict.SETTLED]
        assert world.counts == {"cancelled": 1, "processing": 1}


def test_a_call_marked_twice_in_one_call_is_one_request(world: World) -> None:
    world.store([(0, range(1))])
    lease = world.lease(0, world.take().ticket, begun=False)
    assert world.record.requests == 0
    assert world.items.mark_begun("job", "w1", [lease, lease]) == ["ok", "ok"]
    assert world.items.mark_begun("job", "w1", [lease]) == ["ok"]
    assert world.items.mark_begun("job", "w2", [lease]) == ["stale"]
    assert world.record.requests == 1


def test_an_old_message_is_superseded_once_the_item_went_back_and_once_it_went_out_again(
    world: World,
) -> None:
    world.store([(0, range(1))])
    old = world.take().ticket
    world.release(world.lease(0, old))
    assert world.claim_one(0, old, "w2").verdict is Verdict.SUPERSEDED
    assert world.claim_one(0, 0, "w2").verdict is Verdict.SUPERSEDED  # the void ticket itself opens nothing
    new = world.take().ticket
    assert world.claim_one(0, old, "w2").verdict is Verdict.SUPERSEDED
    assert world.claim_one(0, new, "w2").verdict is Verdict.OK
    assert world.claim_one(0, old, "w3").verdict is Verdict.SUPERSEDED  # while it is leased, too


def test_items_and_jobs_that_are_not_there_are_gone(world: World) -> None:
    world.store([(0, range(1))])
    assert world.claim_one(7, 1, "w1").verdict is Verdict.GONE
    assert world.items.claim("other", 0, "w1", [ClaimRequest(0, 1, "n", True)])[0].verdict is Verdict.GONE


# -- settling -------------------------------------------------------------------------------------------------


def test_a_late_result_is_dropped_once_the_item_belongs_to_another_worker(world: World) -> None:
    world.store([(0, range(1))])
    late = world.lease(0, world.take().ticket, "w1")
    world.go_on(30_000)  # w1 is silent
    world.heal()
    assert world.settle(late, worker="w1").answers == ("stale",)  # gone back, nobody's
    current = world.lease(0, world.take().ticket, "w2")
    assert world.settle(late, worker="w1", text="late").answers == ("stale",)
    assert world.release(late, worker="w1").answer == "stale"
    assert world.settle(current, worker="w2", text="current").answers == ("ok",)
    assert world.settle(late, worker="w1", text="late").answers == ("settled",)
    assert world.texts() == ["current"]
    assert world.counts == {"succeeded": 1}


def test_a_settle_counts_everything_once_however_often_it_is_sent(world: World) -> None:
    world.store([(0, range(2))])
    leases = world.leases(world.take())
    assert world.settle(leases[0], leases[0]).answers == ("ok", "settled")
    assert world.settle(leases[0]).answers == ("settled",)
    world.settle(leases[1], byte=ItemByte.FAILED, duration_ms=900)
    record = world.record
    assert world.counts == {"succeeded": 1, "failed": 1}
    assert (record.input_tokens, record.output_tokens, record.cost_usd) == (20, 10, 1.0)
    assert (record.requests, record.errors) == (2, {"INVALID_ARGUMENT": 1})
    assert world.field(f"lat{bucket_of(100)}") == world.field(f"lat{bucket_of(900)}") == "1"
    assert record.latency_ms["max"] == 900


def test_usage_of_refused_attempts_is_counted_too(world: World) -> None:
    world.store([(0, range(1))])
    lease = world.lease(0, world.take().ticket)
    world.release(lease, ReleaseKind.RETRY, usage=Usage(100, 20, 0), cost_usd=0.25)
    world.settle(world.lease(0, world.take().ticket))
    record = world.record
    assert (record.input_tokens, record.output_tokens, record.cost_usd) == (110, 25, 0.75)
    assert (record.requests, record.retries) == (2, 1)
    assert (record.cached_tokens, record.wasted_tokens, record.wasted_usd) == (2, 120, 0.25)


def test_what_was_paid_for_items_that_failed_and_calls_that_were_lost_is_waste(world: World) -> None:
    world.store([(0, range(3))])
    take = world.take()
    leases = world.leases(take)
    world.settle(leases[0])
    world.settle(leases[1], byte=ItemByte.DEAD_LETTER)
    assert (world.record.wasted_tokens, world.record.wasted_usd) == (15, 0.5)
    world.go_on(LEASE_MS + 5_000)
    assert world.heal().lost_calls == 1
    assert (world.record.repeated, world.record.cost_usd) == (1, 1.0)  # nobody saw its answer, nor its price
    assert (world.record.wasted_tokens, world.record.wasted_usd) == (15 + 15, 0.5 + 0.5)


def test_an_answer_without_a_call_has_no_latency_and_is_no_request(world: World) -> None:
    world.store([(0, range(1))])
    world.settle(world.lease(0, world.take().ticket), byte=ItemByte.FAILED, duration_ms=None)
    assert (world.record.latency_ms, world.record.slowest) == ({}, ())
    assert world.record.requests == 0


def test_the_slowest_ten_are_kept(world: World) -> None:
    world.store([(0, range(30))])
    durations = [(at * 37) % 101 + 1 for at in range(30)]
    for at, lease in world.leases(world.take()).items():
        world.settle(lease, duration_ms=durations[at])
    slow = [(one.index, one.duration_ms) for one in world.record.slowest]
    assert slow == sorted(enumerate(durations), key=lambda pair: -pair[1])[:10]


def test_a_settle_names_the_shards_that_are_complete_and_says_when_nothing_is_left(world: World) -> None:
    world.store([(0, range(2)), (0, range(2, 4))], bad=[1])
    leases = world.leases(world.take())
    first = world.settle(leases[0], leases[2])
    assert (first.complete, first.done) == ((0,), False)
    last = world.settle(leases[3])
    assert (last.complete, last.done) == ((1,), True)


def test_refill_is_signalled_at_the_low_water_mark_and_then_once_a_second(world: World) -> None:
    world.store([(0, range(20))])
    leases = world.leases(world.take(8, window=8))
    assert [world.settle(leases[at]).refill for at in (0, 1, 2)] == [False, False, False]
    assert world.settle(leases[3]).refill  # crosses half of the window
    assert not world.settle(leases[4]).refill
    world.database.now_ms = world.now_ms + 1_001  # the first signal was lost
    assert world.settle(leases[5]).refill
    assert not world.settle(leases[6]).refill
    world.take(8, window=8)
    world.database.now_ms = world.now_ms + 1_001
    assert not world.settle(leases[7]).refill  # filled again


def test_no_refill_is_signalled_when_nothing_is_pending(world: World) -> None:
    world.store([(0, range(2))])
    leases = world.leases(world.take(2, window=2))
    assert not world.settle(leases[0]).refill
    assert not world.settle(leases[1]).refill


# -- releasing ------------------------------------------------------------------------------------------------


def test_a_retry_has_a_new_ticket_and_the_old_message_is_refused(world: World) -> None:
    world.store([(0, range(1))])
    old = world.take().ticket
    released = world.release(world.lease(0, old), ReleaseKind.RETRY, by_message=True, delay_ms=2_000)
    assert (released.answer, world.states) == ("retry", "w")
    assert released.ticket > old
    assert world.claim_one(0, old, "w2").verdict is Verdict.SUPERSEDED
    lease = world.lease(0, released.ticket, "w2")
    assert lease.attempts == 2


def test_what_goes_again_together_has_one_ticket(world: World) -> None:
    world.store([(0, range(3))])
    leases = world.leases(world.take(3))
    requests = [
        ReleaseRequest(lease.position, lease.nonce, ReleaseKind.RETRY, 1_000, by_message=True)
        for lease in leases.values()
    ]
    released = world.items.release(world.spec.id, 0, "w1", requests, fatal_limit=5)
    (ticket,) = {answer.ticket for answer in released}
    claimed = [world.claim_one(at, ticket, "w2") for at in leases]
    assert [one.verdict for one in claimed] == [Verdict.OK] * 3


def test_only_a_retry_uses_up_an_attempt(world: World) -> None:
    world.store([(0, range(1))])
    seen = []
    for kind in (
        ReleaseKind.UNUSED,
        ReleaseKind.CUT,
        ReleaseKind.LIMITED,
        ReleaseKind.FATAL,
        ReleaseKind.RETRY,
    ):
        lease = world.lease(0, world.take().ticket)
        seen.append(lease.attempts)
        world.release(lease, kind, error=str(kind), waited_ms=10)
    lease = world.lease(0, world.take().ticket)
    assert [*seen, lease.attempts] == [1, 1, 1, 1, 1, 2]
    assert (lease.limited, lease.waited_ms) == (1, 50)
    assert [line.error.message for line in lease.history] == ["unused", "cut", "limited", "fatal", "retry"]
    assert (world.record.rate_limited, world.record.retries, world.record.requests) == (1, 1, 5)


def test_a_lease_whose_call_never_began_gives_no_attempt_back(world: World) -> None:
    world.store([(0, range(1))])
    world.release(world.lease(0, world.take().ticket), ReleaseKind.RETRY)
    world.release(world.lease(0, world.take().ticket, begun=False))
    assert world.lease(0, world.take().ticket).attempts == 2


def test_a_history_keeps_every_byte_of_a_message(world: World) -> None:
    world.store([(0, range(1))])
    message = 'a | b || "quoted" %s %d \\ ünïcode\n' + "x" * 3_000
    world.release(world.lease(0, world.take().ticket), ReleaseKind.RETRY, error=message)
    assert world.lease(0, world.take().ticket).history[0].error.message == message


def test_a_release_repeated_after_a_lost_reply_changes_nothing(world: World) -> None:
    world.store([(0, range(1))])
    lease = world.lease(0, world.take().ticket)
    assert world.release(lease, ReleaseKind.RETRY, usage=Usage(1, 1)).answer == "back"
    before = world.everything()
    assert world.release(lease, ReleaseKind.RETRY, usage=Usage(1, 1)).answer == "stale"
    assert world.everything() == before


# -- holds ----------------------------------------------------------------------------------------------------


def test_a_job_runs_when_the_last_of_its_holds_is_lifted(world: World) -> None:
    world.store([(0, range(1))])
    assert world.jobs.hold("job", HoldCause.PERSON, "lunch", "person")
    assert not world.jobs.hold("job", HoldCause.PERSON, "lunch", "person")
    assert world.jobs.hold("job", HoldCause.BUDGET, "", "worker")
    assert world.record.state is JobState.PAUSED
    assert world.record.reason == "lunch; the cost limit is reached"
    assert world.jobs.unhold("job", HoldCause.PERSON, "person")
    assert not world.jobs.unhold("job", HoldCause.FATAL, "person")
    assert world.take().positions == ()
    assert world.jobs.unhold("job", HoldCause.BUDGET, "person")
    assert world.take().positions == (0,)
    changes = [line.change for line in world.record.history]
    assert changes == ["submitted", "paused", "paused", "resumed", "resumed"]


def test_lifting_all_holds_lifts_every_cause(world: World) -> None:
    world.store([(0, range(1))])
    for cause in HoldCause:
        world.jobs.hold("job", cause, "", "person")
    assert world.jobs.unhold("job", None, "person")
    assert world.record.state is JobState.PENDING


def test_messages_of_a_paused_job_go_back_with_their_due_time_and_leases_go_on(world: World) -> None:
    world.store([(0, range(3))])
    ticket = world.take().ticket
    running, retried = world.lease(0, ticket), world.lease(1, ticket)
    again = world.release(retried, ReleaseKind.RETRY, by_message=True, delay_ms=9_000)
    world.jobs.hold("job", HoldCause.PERSON, "", "person")
    assert world.claim_one(2, ticket, "w1").verdict is Verdict.PAUSED
    assert world.claim_one(1, again.ticket, "w1").verdict is Verdict.PAUSED
    assert world.settle(running).answers == ("ok",)
    assert world.states == "Sbb"
    world.jobs.unhold("job", None, "person")
    assert world.take().positions == (2,)
    world.database.now_ms = world.now_ms + 9_000
    assert world.take().positions == (1,)


def test_a_lease_of_a_paused_or_cancelled_job_begins_no_call(world: World) -> None:
    world.store([(0, range(2))])
    leases = world.leases(world.take(), begun=False)
    world.jobs.hold("job", HoldCause.PERSON, "", "person")
    assert world.items.mark_begun("job", "w1", [leases[0]]) == ["paused"]
    assert world.release(leases[0], by_message=True).answer == "back"  # no retry message while it is held
    world.jobs.cancel("job", by="person")
    assert world.items.mark_begun("job", "w1", [leases[1]]) == ["cancelled"]
    assert world.release(leases[1]).answer == "cancelled"
    assert world.record.requests == 0


def test_fatal_errors_in_a_row_hold_the_job_and_settle_nothing(world: World) -> None:
    world.store([(0, range(5))])
    leases = world.leases(world.take())
    held = [world.release(leases[at], ReleaseKind.FATAL).job_held for at in range(5)]
    assert held == [False, False, True, True, True]
    assert world.counts == {"pending": 5}
    assert (world.record.state, world.record.reason) == (JobState.PAUSED, "bad key")
    world.jobs.unhold("job", HoldCause.FATAL, "person")
    assert not world.release(world.leases(world.take())[0], ReleaseKind.FATAL).job_held  # the row begins anew


def test_a_success_ends_the_row_of_fatal_errors_and_a_failure_does_not(world: World) -> None:
    world.store([(0, range(7))])
    leases = world.leases(world.take())
    for at in (0, 1):
        world.release(leases[at], ReleaseKind.FATAL)
    world.settle(leases[2])
    for at in (3, 4):
        assert not world.release(leases[at], ReleaseKind.FATAL).job_held
    world.settle(leases[5], byte=ItemByte.FAILED)
    assert world.release(leases[6], ReleaseKind.FATAL).job_held


# -- cancelling -----------------------------------------------------------------------------------------------


def test_a_cancelled_job_sends_nothing_out_and_ends_when_the_last_lease_does(world: World) -> None:
    world.store([(0, range(6))])
    take = world.take(4)
    leases = {at: world.lease(at, take.ticket) for at in (0, 1, 2)}
    world.release(leases[2], delay_ms=60_000)
    assert world.jobs.cancel("job", by="person", why="wrong file")
    assert not world.jobs.cancel("job", by="person")
    assert world.record.state is JobState.CANCELLED
    assert world.take().positions == ()
    assert world.claim_one(3, take.ticket, "w2").verdict is Verdict.CANCELLED
    assert not world.jobs.cancel_sweep("job", 1)
    assert world.states == "llXXXX"
    assert world.counts == {"processing": 2, "cancelled": 4}
    assert world.finish() is None  # two are still out
    assert world.settle(leases[0]).answers == ("ok",)
    assert world.release(leases[1], ReleaseKind.RETRY, by_message=True).answer == "cancelled"
    assert world.finish() == "cancelled"
    assert world.texts() == ["answer", *["CANCELLED"] * 5]
    assert world.take().positions == ()


def test_a_cancelled_job_is_swept_in_slices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchq.store.jobs.CANCEL_SHARDS", 2)
    world.store([(at % 2, range(at * 3, at * 3 + 3)) for at in range(5)], bad=[1])
    world.release(world.leases(world.take(1, lane=1), lane=1)[3], lane=1)
    world.jobs.cancel("job", by="person")
    slices = [world.jobs.cancel_sweep("job", 2)]
    assert world.counts == {"failed": 1, "cancelled": 5, "pending": 9}
    slices += [world.jobs.cancel_sweep("job", 2), world.jobs.cancel_sweep("job", 2)]
    assert slices == [True, True, False]
    assert world.counts == {"failed": 1, "cancelled": 14}
    keys = world.database.job_keys("job")
    assert world.database.command("EXISTS", keys.flight, keys.back(1)) == 0
    assert world.finish() == "cancelled"


def test_the_sweep_of_a_job_that_is_not_cancelled_does_nothing(world: World) -> None:
    world.store([(0, range(3))])
    before = world.everything()
    assert not world.jobs.cancel_sweep("job", 1)
    assert world.everything() == before


def test_a_job_whose_deadline_passed_ends_completed_and_says_why(world: World) -> None:
    world.store([(0, range(2))], deadline_ms=START_MS + 1_000)
    lease = world.leases(world.take(1))[0]
    assert not world.jobs.cancel("job", cause="deadline", by="sweeper")  # it has not passed yet
    assert world.counts == {"processing": 1, "pending": 1}
    world.database.now_ms = START_MS + 1_000
    assert world.jobs.cancel("job", cause="deadline", by="sweeper")
    assert world.record.state is JobState.PROCESSING
    world.jobs.cancel_sweep("job", 1)
    world.settle(lease)
    assert world.finish() == "completed"
    assert (world.record.reason, world.counts) == ("deadline", {"succeeded": 1, "cancelled": 1})


def test_what_has_ended_can_be_neither_held_nor_cancelled(world: World) -> None:
    world.finished_with(ItemByte.SUCCEEDED)
    with pytest.raises(Conflict, match="completed"):
        world.jobs.cancel("job", by="person")
    with pytest.raises(Conflict, match="completed"):
        world.jobs.hold("job", HoldCause.PERSON, "", "person")


# -- healing --------------------------------------------------------------------------------------------------


def test_a_dead_workers_items_come_back_within_thirty_seconds_and_a_live_ones_stay(world: World) -> None:
    world.store([(0, range(2))])
    ticket = world.take().ticket
    world.beat("bystander", "w1", "w2")
    world.lease(0, ticket, "w1")
    live = world.lease(1, ticket, "w2")
    world.go_on(30_000, "w2")
    healed = world.heal()
    assert (healed.back, healed.lost_calls, world.states) == (1, 1, "bl")
    assert world.settle(live, worker="w2").answers == ("ok",)


def test_a_worker_that_has_just_begun_to_live_keeps_its_first_lease(world: World) -> None:
    world.store([(0, range(1))])
    world.beat("bystander")
    world.lease(0, world.take().ticket, "never beat")
    world.go_on(10_000)
    assert world.heal().back == 0
    world.go_on(10_000)
    assert world.heal().back == 1


def test_after_an_outage_of_the_store_every_lease_has_its_grace(world: World) -> None:
    world.store([(0, range(2))])
    ticket = world.take().ticket
    world.beat("w1", "w2")
    world.lease(0, ticket, "w1")
    world.lease(1, ticket, "w2")
    world.outage(100_000)
    world.beat("w1")  # the first one back; w2 is alive as well and about to beat
    assert world.heal().back == 0
    world.go_on(14_000, "w1")
    assert world.heal().back == 0
    world.go_on(4_000, "w1")  # w2 is dead indeed
    assert (world.heal().back, world.states) == (1, "lb")


def test_a_sweeper_that_is_back_before_any_heartbeat_takes_nothing(world: World) -> None:
    world.store([(0, range(3))])
    world.beat("w1")
    ticket = world.take().ticket
    world.lease(0, ticket, "w1")
    world.release(world.lease(1, ticket, "w1"), ReleaseKind.RETRY, by_message=True, delay_ms=1_000)
    world.outage(100_000)
    assert (world.heal().back, world.states) == (0, "lwd")


def test_an_outage_ages_no_lease_message_or_retry(world: World) -> None:
    world.store([(0, range(3))])
    world.beat("w1")
    ticket = world.take().ticket
    world.lease(0, ticket)
    world.release(world.lease(1, ticket), ReleaseKind.RETRY, by_message=True, delay_ms=1_000)
    world.outage(3_600_000)
    world.beat("w1")
    assert world.heal(lease_max_ms=20_000, undelivered_ms=15_000).back == 0
    assert world.states == "lwd"
    world.go_on(25_000, "w1")
    assert world.heal(lease_max_ms=20_000, undelivered_ms=15_000).back == 3


def test_outages_before_a_lease_do_not_prolong_it(world: World) -> None:
    world.store([(0, range(1))])
    world.beat("w1")
    world.outage(500_000)
    world.beat("w1")
    world.lease(0, world.take().ticket)
    world.go_on(181_000, "w1")
    assert world.heal().back == 1


def test_a_lease_ends_at_its_maximum_however_alive_its_worker_is(world: World) -> None:
    world.store([(0, range(1))])
    world.beat("w1")
    lease = world.lease(0, world.take().ticket)
    world.go_on(180_000, "w1")
    assert world.heal().back == 0
    world.go_on(1, "w1")
    assert world.heal().back == 1
    assert world.settle(lease).answers == ("stale",)


def test_a_lost_message_is_sent_again_with_a_doubling_deadline(world: World) -> None:
    world.store([(0, range(1))])
    for lost in range(4):
        assert world.take().positions == (0,)
        world.go_on(UNDELIVERED_MS * 2**lost)
        assert world.heal().back == 0
        world.go_on(1)
        assert world.heal().back == 1
    lease = world.lease(0, world.take().ticket)
    assert (lease.attempts, lease.crashes, world.record.repeated) == (1, 0, 0)


def test_a_lost_retry_comes_back_fifteen_seconds_after_it_was_due(world: World) -> None:
    world.store([(0, range(1))])
    world.beat("w1")
    lease = world.lease(0, world.take().ticket)
    lost = world.release(lease, ReleaseKind.RETRY, by_message=True, delay_ms=30_000)
    world.go_on(45_000)
    assert world.heal().back == 0
    world.go_on(1)
    healed = world.heal()
    assert (healed.back, healed.lost_calls) == (1, 0)
    assert world.claim_one(0, lost.ticket, "w2").verdict is Verdict.SUPERSEDED  # late after all
    again = world.lease(0, world.take().ticket)
    assert (again.attempts, again.crashes) == (2, 0)


def test_a_death_costs_an_attempt_only_when_the_call_had_begun(world: World) -> None:
    world.store([(0, range(2))])
    world.beat("w1")
    ticket = world.take().ticket
    world.lease(0, ticket, begun=False)
    marked = world.lease(1, ticket, begun=False)
    assert world.items.mark_begun("job", "w1", [marked]) == ["ok"]
    world.go_on(30_000)
    healed = world.heal()
    assert (healed.back, healed.lost_calls, world.record.repeated) == (2, 1, 1)
    again = world.leases(world.take(), "w2")
    assert [(lease.attempts, lease.crashes) for lease in again.values()] == [(1, 0), (2, 1)]


def test_an_item_that_three_workers_died_under_is_poison(world: World) -> None:
    world.store([(0, range(1)), (0, range(1, 2))])
    for death in range(3):
        lease = world.lease(0, world.take(1).ticket, f"w{death}")
        if death == 0:
            world.release(lease, ReleaseKind.RETRY, worker="w0", error="100 % %s %d")
            world.lease(0, world.take(1).ticket, "w0")
        world.go_on(30_000)
        healed = world.heal()
    assert (healed.back, healed.poisoned, healed.shards) == (0, 1, (0,))
    assert world.counts == {"dead_letter": 1, "pending": 1}
    dead = world.results()[0].outcome
    assert dead is not None
    assert dead.error is not None
    assert (dead.error.status, dead.attempts) == ("POISON", 4)
    assert [line.error.message for line in dead.history] == ["100 % %s %d"]
    assert world.record.errors == {"POISON": 1}
    assert world.outcomes.compact("job", 0)


def test_deaths_older_than_a_day_are_forgotten(world: World) -> None:
    world.store([(0, range(1))])
    for _ in range(2):
        world.lease(0, world.take().ticket)
        world.go_on(30_000)
        world.heal()
    world.database.now_ms = world.now_ms + 86_400_001
    world.beat("bystander")
    world.go_on(30_000)
    world.lease(0, world.take().ticket)
    world.go_on(30_000)
    assert world.heal().poisoned == 0
    assert world.lease(0, world.take().ticket).crashes == 1


def test_what_heals_in_a_cancelled_job_is_cancelled(world: World) -> None:
    world.store([(0, range(3))])
    world.beat("w1")
    ticket = world.take().ticket
    world.lease(0, ticket)
    world.release(world.lease(1, ticket), ReleaseKind.RETRY, by_message=True)
    world.jobs.cancel("job", by="person")
    world.go_on(60_000)
    assert world.heal().cancelled == 3
    assert world.finish() == "cancelled"


def test_a_flight_of_thousands_heals_in_slices(world: World) -> None:
    world.store([(lane, range(lane * 1_000, lane * 1_000 + 1_000)) for lane in (0, 1, 2)])
    for lane in (0, 1, 2):
        world.take(1_000, window=1_000, lane=lane)
    world.go_on(16_000)
    assert world.heal().back == 3_000
    assert world.counts == {"pending": 3_000}
    assert len(world.take(1_000, window=1_000, lane=1).positions) == 1_000


# -- heartbeats -----------------------------------------------------------------------------------------------


def test_a_gap_is_an_outage_only_when_nobody_beat(world: World) -> None:
    world.beat("w1", "w2")
    world.go_on(100_000, "w1")
    assert world.weather().dark_ms == 0
    assert {beat.incarnation for beat in world.fleet.alive(15_000)} == {"bystander", "w1"}
    world.outage(2 * PERIOD_MS)
    world.beat("w1")
    assert world.weather().dark_ms == 0
    world.outage(2 * PERIOD_MS + 1)
    world.beat("w1")
    weather = world.weather()
    assert (weather.dark_ms, weather.grace_until_ms) == (PERIOD_MS + 1, world.now_ms + 15_000)
    assert world.database.dark_ms == PERIOD_MS + 1


def test_a_clock_that_runs_backwards_gives_grace(world: World) -> None:
    world.beat("w1")
    world.outage(-500_000)
    world.beat("w1")
    weather = world.weather()
    assert (weather.dark_ms, weather.grace_until_ms) == (0, world.now_ms + 15_000)


def test_looking_at_the_weather_is_no_beat(world: World) -> None:
    world.beat("w1")
    before = world.everything()
    world.outage(1_000_000)
    assert world.weather().dark_ms == 1_000_000 - PERIOD_MS  # as a beat would find it
    assert world.everything() == before


def test_one_process_sweeps_at_a_time(world: World) -> None:
    assert world.fleet.lock("a", 60_000)
    assert world.fleet.lock("a", 60_000)
    assert not world.fleet.lock("b", 60_000)
    world.fleet.unlock("b")
    assert not world.fleet.lock("b", 60_000)
    world.fleet.unlock("a")
    assert world.fleet.lock("b", 60_000)


def test_a_sweeper_of_an_older_batchq_holds_up_no_newer_one(world: World, checked: CheckedDatabase) -> None:
    checked.command("SET", checked.keys.sweeper(SCHEMA - 1), "old")
    assert world.fleet.lock("new", 10_000)
    assert not world.fleet.lock("another", 10_000)


def test_a_process_gives_back_what_the_server_says_it_holds_and_it_does_not(world: World) -> None:
    """As after a failover that forgot what was settled last."""
    world.store([(0, range(3))])
    ledger = Ledger(world.items, "w1", threading.Event(), Calls())
    lane = ledger.lane(world.spec, 0)
    take = world.take(2)
    (mine,) = lane.claim_pack([ClaimRequest(0, take.ticket, "mine", begun=True)])
    forgotten = world.claim_one(1, take.ticket, "w1")
    assert (mine.verdict, forgotten.verdict) == (Verdict.OK, Verdict.OK)
    assert ledger.disown() == 1
    assert world.states == "lb."
    assert world.record.repeated == 1
    assert world.counts["processing"] == 1
    assert ledger.disown() == 0
