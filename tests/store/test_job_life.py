"""A job from its first shard to its expiry: received, sealed, finished, redriven, compacted, forgotten."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from store_world import DAY_MS, LEASE_MAX_MS, STALE_MS, CheckedDatabase, World

from batchq.core.lifecycle import ENDED, HoldCause, ItemByte, ItemState, JobState
from batchq.core.records import KEPT_ATTEMPTS
from batchq.errors import BatchqError, Conflict, NewerData, NotFound
from batchq.store.job_record import Lane
from batchq.store.jobs import FINISHER_STALE_MS
from batchq.store.keys import SCHEMA
from batchq.store.leases import ClaimRequest, Lease, RedriveRequest, ReleaseKind, ReleaseRequest, Verdict

LANES = [Lane(0, "generate", "model")]


def begin(world: World, sub: str) -> str:
    return world.submissions.begin("job", sub, {"operation": "generate"}, STALE_MS)


# -- receiving ------------------------------------------------------------------------------------------------


def test_a_job_that_is_being_received_is_in_no_list_and_runs_nothing(world: World) -> None:
    begin(world, "a")
    world.put("job", "a", 0, 0, 0, range(2))
    assert list(world.jobs.each()) == []
    for look in (world.jobs.record, world.jobs.spec, world.jobs.state):
        with pytest.raises(NotFound):
            look("job")
    assert world.items.take("job", 0, 10, 10).positions == ()
    assert world.jobs.finish_begin("job", "f") is None
    with pytest.raises(NotFound):
        world.jobs.cancel("job", by="person")
    world.submissions.seal("job", "a", 2, "digest", LANES)
    assert [record.id for record in world.jobs.each()] == ["job"]
    assert world.items.take("job", 0, 10, 10).positions == (0, 1)


def test_a_second_submission_finds_the_first_busy_while_it_beats(world: World) -> None:
    assert begin(world, "a") == "new"
    for _ in range(3):
        world.database.now_ms = world.now_ms + STALE_MS
        assert not world.submissions.stale("job", STALE_MS)
        assert world.submissions.beat("job", "a")
    assert begin(world, "b") == "busy"
    assert not world.submissions.beat("job", "b")
    world.database.now_ms = world.now_ms + STALE_MS
    world.put("job", "a", 0, 0, 0, range(1))  # a shard is a sign of life as well
    world.database.now_ms = world.now_ms + STALE_MS
    assert begin(world, "b") == "busy"


def test_a_dead_submission_is_taken_over_and_the_zombie_can_write_nothing(world: World) -> None:
    begin(world, "a")
    world.put("job", "a", 0, 0, 0, range(3))
    world.submissions.put_file("job", "a", "digest", b"bytes")
    world.database.now_ms = world.now_ms + STALE_MS + 1
    assert world.submissions.stale("job", STALE_MS)
    assert begin(world, "b") == "taken_over"
    before = world.everything()
    with pytest.raises(Conflict):
        world.put("job", "a", 1, 3, 0, range(3, 5))
    with pytest.raises(Conflict):
        world.submissions.put_file("job", "a", "other", b"bytes")
    with pytest.raises(Conflict):
        world.submissions.seal("job", "a", 3, "digest", LANES)
    world.submissions.abandon("job", "a")
    assert not world.submissions.beat("job", "a")
    assert world.everything() == before
    assert world.inputs.file("job", "digest") is None
    world.put("job", "b", 0, 0, 0, range(1))
    world.submissions.seal("job", "b", 1, "digest", LANES)
    world.spec = world.jobs.spec("job")
    assert world.counts == {"pending": 1}


def test_the_same_shard_again_overwrites_itself(world: World) -> None:
    begin(world, "a")
    for _ in range(2):  # the first reply was lost
        world.put("job", "a", 0, 0, 0, range(3), bad=[1])
        world.put("job", "a", 1, 3, 0, range(3, 5))
    world.put("job", "a", 0, 0, 0, range(3), bad=[1])
    world.submissions.seal("job", "a", 5, "digest", LANES)
    world.spec = world.jobs.spec("job")
    assert world.counts == {"pending": 4, "failed": 1}
    assert world.record.errors == {"INVALID_ARGUMENT": 1}
    assert world.take().positions == (0, 2, 3, 4)
    assert [result.id for result in world.results()] == [f"item-{n}" for n in range(5)]


@pytest.mark.parametrize("since", ["at once", "after its first item went out", "after its end"])
def test_a_seal_is_repeated_safely_after_a_lost_reply(world: World, since: str) -> None:
    world.store([(0, range(2))])
    if since != "at once":
        leases = world.leases(world.take())
        if since == "after its end":
            world.settle(*leases.values())
            world.finish()
    state, counts = world.record.state, world.counts
    world.submissions.seal("job", "sub", 2, "digest", LANES)
    assert (world.record.state, world.counts) == (state, counts)


def test_a_seal_that_misses_items_is_refused(world: World) -> None:
    begin(world, "a")
    world.put("job", "a", 0, 0, 0, range(2))
    with pytest.raises(BatchqError, match="holds 2 items"):
        world.submissions.seal("job", "a", 3, "digest", LANES)
    assert world.submissions.stale("job", -1)


def test_what_is_sealed_is_found_again_with_its_digest(world: World) -> None:
    world.store([(0, range(1))])
    found = world.submissions.begin("job", "again", {}, STALE_MS)
    assert found == "exists"
    assert world.counts == {"pending": 1}


def test_what_a_broken_off_submission_left_is_dropped_whole(world: World) -> None:
    begin(world, "a")
    world.put("job", "a", 0, 0, 0, range(3), bad=[0])
    world.submissions.put_file("job", "a", "digest", b"bytes")
    assert world.jobs.due(10) == []
    world.database.now_ms = world.now_ms + STALE_MS
    assert world.jobs.due(10) == ["job"]
    world.submissions.abandon("job")
    assert world.everything() == {}


def test_a_sealed_job_is_not_abandoned(world: World) -> None:
    world.store([(0, range(1))])
    before = world.everything()
    world.submissions.abandon("job")
    assert world.everything() == before


# -- finishing ------------------------------------------------------------------------------------------------


def test_a_job_finishes_when_its_last_item_is_settled_and_not_before(world: World) -> None:
    world.store([(0, range(2))], bad=[0])
    assert world.finish() is None
    lease = world.leases(world.take())[1]
    assert world.finish() is None
    world.settle(lease)
    assert "job" in world.jobs.due(10)
    assert world.finish() == "completed"
    assert world.record.finished_at == world.now_ms / 1000
    assert world.jobs.due(10) == []
    assert world.finish() is None
    assert [line.change for line in world.record.history] == ["submitted", "completed"]


def test_a_job_of_which_no_item_can_be_sent_finishes_too(world: World) -> None:
    world.store([(0, range(2))], bad=[0, 1])
    assert world.take().positions == ()
    assert world.finish() == "completed"


def test_of_two_finishers_one_begins_and_the_other_takes_over_only_when_it_is_dead(world: World) -> None:
    world.store([(0, range(1))], bad=[0])
    generation = world.jobs.finish_begin("job", "a")
    assert generation == 0
    assert world.jobs.finish_begin("job", "b") is None
    assert world.jobs.finish_begin("job", "a") == generation
    world.database.now_ms = world.now_ms + FINISHER_STALE_MS + 1
    assert world.jobs.finish_begin("job", "b") == generation
    assert world.jobs.finish_commit(world.spec, "a", generation) is None
    assert world.jobs.finish_commit(world.spec, "b", generation) is JobState.COMPLETED


def test_a_commit_is_repeated_safely_after_a_lost_reply(world: World) -> None:
    world.store([(0, range(1))], bad=[0], retention_ms=DAY_MS)
    generation = world.jobs.finish_begin("job", "a")
    assert generation is not None
    assert world.jobs.finish_commit(world.spec, "a", generation) is JobState.COMPLETED
    before = world.record
    world.database.now_ms = world.now_ms + 500
    assert world.jobs.finish_commit(world.spec, "a", generation) is JobState.COMPLETED
    assert (world.record.history, world.record.finished_at) == (before.history, before.finished_at)


def test_a_commit_fails_when_a_redrive_opened_the_job_meanwhile(world: World) -> None:
    world.store([(0, range(1))])
    world.settle(world.leases(world.take())[0], byte=ItemByte.DEAD_LETTER)
    old = world.jobs.finish_begin("job", "a")
    assert old is not None
    world.redrive(0)
    assert world.jobs.finish_commit(world.spec, "a", old) is None
    world.settle(world.leases(world.take())[0])
    assert world.jobs.finish_commit(world.spec, "a", old) is None  # not even when all is settled again
    new = world.jobs.finish_begin("job", "a")
    assert new == old + 1
    assert world.jobs.finish_commit(world.spec, "a", new) is JobState.COMPLETED


def test_a_commit_of_another_generation_fails_whatever_its_token_says(world: World) -> None:
    """A redrive takes the token away too; the generation holds alone."""
    world.store([(0, range(1))], bad=[0])
    generation = world.jobs.finish_begin("job", "a")
    assert generation is not None
    world.database.command("HINCRBY", world.database.job_keys("job").job, "gen", 1)
    assert world.jobs.finish_commit(world.spec, "a", generation) is None
    assert world.record.finished_at is None


def test_a_finished_job_leaves_the_agenda_unless_it_was_opened_again(world: World) -> None:
    world.finished_with(ItemByte.FAILED)
    world.redrive(0)
    assert world.jobs.due(10) == ["job"]  # whoever redrove it may die before it sends a message
    world.jobs.forget("job")  # the last step of a finisher that was held up
    assert world.jobs.due(10) == ["job"]
    world.settle(world.leases(world.take())[0])
    world.finish()
    world.jobs.wake("job")
    world.jobs.forget("job")
    assert world.jobs.due(10) == []


def test_a_running_job_is_not_deleted_and_an_ended_one_is_deleted_whole(world: World) -> None:
    world.store([(0, range(1))], bad=[0])
    with pytest.raises(Conflict, match="cancel it first"):
        world.jobs.delete("job")
    world.finish()
    world.jobs.delete("job")
    assert world.everything() == {}


def test_a_cancelled_job_with_calls_under_way_is_not_deleted(world: World) -> None:
    world.store([(0, range(3))])
    leases = world.leases(world.take(2))
    world.jobs.cancel("job", by="person")
    assert not world.jobs.cancel_sweep("job", 1)
    with pytest.raises(Conflict, match="is cancelled, with 2 calls still under way"):
        world.jobs.delete("job")
    world.settle(*leases.values())
    assert world.finish() == "cancelled"
    world.jobs.delete("job")
    assert world.everything() == {}


def test_a_redrive_just_before_a_delete_saves_the_job(checked: CheckedDatabase) -> None:
    world = World(checked)
    world.finished_with(ItemByte.FAILED, items=2)

    def redriven_first(script: str, _keys: object, _args: object) -> bool:
        if script == "delete":
            checked.before_script = None
            assert world.redrive(0) == 1
        return True

    checked.before_script = redriven_first
    with pytest.raises(Conflict, match="cancel it first"):
        world.jobs.delete("job")
    assert world.states == "rF"
    assert world.jobs.due(10) == ["job"]


def test_one_call_sweeps_and_takes_no_more_than_others_can_wait_for(world: World) -> None:
    world.store([(0, range(at * 1_000, (at + 1) * 1_000)) for at in range(13)])
    take = world.take(5_000, window=5_000)
    assert len(take.positions) == 1_000
    requests = [ClaimRequest(at, take.ticket, "n", begun=False) for at in take.positions]
    world.items.claim("job", 0, "w1", requests)
    unused = [ReleaseRequest(at, "n", ReleaseKind.UNUSED, 0) for at in take.positions]
    world.items.release("job", 0, "w1", unused, fatal_limit=3)
    world.jobs.cancel("job", by="person")
    swept = []
    while world.jobs.cancel_sweep("job", 1):
        swept.append(world.record.cancelled)
    assert swept == [1_000, 11_000]
    assert world.counts == {"cancelled": 13_000}


# -- redriving ------------------------------------------------------------------------------------------------


def test_a_redrive_opens_a_finished_job_again_and_its_counts_and_results_come_right(world: World) -> None:
    world.store([(0, range(2)), (0, range(2, 4))])
    leases = world.leases(world.take())
    world.settle(leases[0], text="good")
    world.settle(leases[1], leases[2], byte=ItemByte.FAILED, text="bad")
    world.settle(leases[3], byte=ItemByte.DEAD_LETTER, text="tired")
    assert world.finish() == "completed"
    assert world.outcomes.compact("job", 0)
    assert world.redrive(0, 1, 3) == 2  # a success is nothing to redrive
    assert (world.record.state, world.record.finished_at) == (JobState.PROCESSING, None)
    assert world.counts == {"succeeded": 1, "failed": 1, "pending": 2}
    assert world.record.errors == {"INVALID_ARGUMENT": 1}
    assert world.texts() == ["good", None, "bad", None]
    assert world.redrive(1, 3) == 0  # once is enough
    take = world.take()
    assert take.positions == (1, 3)
    again = world.leases(take)
    assert [lease.attempts for lease in again.values()] == [1, 1]
    assert world.settle(again[1], text="better").complete == (0,)
    world.settle(again[3], text="best")
    assert world.finish() == "completed"
    assert world.counts == {"succeeded": 3, "failed": 1}
    assert world.texts() == ["good", "better", "bad", "best"]
    assert world.outcomes.compact("job", 0)
    assert world.outcomes.compact("job", 1)
    assert world.outcomes.loose_shards("job") == []
    assert world.texts() == ["good", "better", "bad", "best"]


def test_an_old_lease_or_message_cannot_settle_what_was_redriven(world: World) -> None:
    world.store([(0, range(1))])
    take = world.take()
    old = world.leases(take)[0]
    world.settle(old, byte=ItemByte.FAILED)
    world.redrive(0)
    assert world.settle(old, text="zombie").answers == ("stale",)
    assert world.claim_one(0, take.ticket, "w1", nonce=old.nonce).verdict is Verdict.SUPERSEDED
    again = world.take()
    assert world.claim_one(0, take.ticket, "w1").verdict is Verdict.SUPERSEDED
    assert world.settle(old, text="zombie").answers == ("stale",)
    world.settle(world.leases(again)[0], text="second")
    assert world.texts() == ["second"]


def test_a_redrive_in_slices_is_one_generation_while_the_job_runs(world: World) -> None:
    world.finished_with(ItemByte.FAILED, items=3)
    world.redrive(0)
    world.redrive(1, first=False)
    assert world.field("gen") == "1"
    assert [line.change for line in world.record.history] == ["submitted", "completed", "redrive"]


def test_a_late_slice_of_a_redrive_that_opens_the_job_anew_is_a_generation_of_its_own(world: World) -> None:
    world.finished_with(ItemByte.FAILED, items=2)
    world.redrive(0)
    world.settle(world.leases(world.take())[0])
    assert world.finish() == "completed"  # between two slices
    world.redrive(1, first=False)
    assert world.field("gen") == "2"
    world.settle(world.leases(world.take())[1])
    generation = world.jobs.finish_begin("job", "a")
    assert generation == 2
    world.database.command("HSET", world.database.job_keys("job").job, "n_S", "1", "n_F", "1")
    world.database.command("SETRANGE", world.database.job_keys("job").states, 1, "F")
    world.redrive(1, first=False)  # this one meets a finisher at work
    assert world.field("gen") == "3"


def test_the_first_slice_may_find_nothing_and_the_generation_rises_all_the_same(world: World) -> None:
    world.finished_with(ItemByte.FAILED, items=2)
    assert world.redrive(0) == 1
    world.settle(world.leases(world.take())[0])
    world.finish()
    assert world.redrive(0) == 0  # succeeded since it was listed
    assert world.field("gen") == "1"
    assert world.redrive(1, first=False) == 1
    assert world.field("gen") == "2"


def test_a_cancelled_job_is_not_redriven(world: World) -> None:
    world.store([(0, range(2))], bad=[0])
    world.jobs.cancel("job", by="person")
    with pytest.raises(Conflict):
        world.redrive(0)
    world.jobs.cancel_sweep("job", 1)
    world.finish()
    with pytest.raises(Conflict):
        world.redrive(0)


def test_a_redrive_after_the_deadline_runs_without_one(world: World) -> None:
    world.store([(0, range(2))], bad=[0], deadline_ms=world.now_ms)
    assert world.jobs.cancel("job", cause="deadline", by="sweeper")
    world.jobs.cancel_sweep("job", 1)
    world.finish()
    assert world.redrive(0) == 1
    assert world.take().positions == (0,)
    assert world.counts == {"processing": 1, "cancelled": 1}
    assert world.record.reason is None
    assert not world.jobs.cancel("job", cause="deadline", by="sweeper")  # a sweeper that read it before
    assert world.counts == {"processing": 1, "cancelled": 1}


def test_a_redrive_of_one_lane_leaves_the_other_alone(world: World) -> None:
    world.store([(0, (0, 2)), (1, (1, 3))])
    for lane in (0, 1):
        leases = world.leases(world.take(lane=lane), lane=lane).values()
        world.settle(*leases, byte=ItemByte.FAILED, lane=lane)
    world.finish()
    assert world.redrive(2, 3, lane=1) == 2
    assert world.take(lane=0).positions == ()
    assert world.take(lane=1).positions == (2, 3)


# -- compacting -----------------------------------------------------------------------------------------------


def test_a_shard_is_compacted_only_when_it_is_complete(world: World) -> None:
    world.store([(0, range(2))])
    leases = world.leases(world.take())
    world.settle(leases[0], text="one")
    assert not world.outcomes.compact("job", 0)
    world.settle(leases[1], text="two")
    assert world.outcomes.loose_shards("job") == [0]
    assert world.outcomes.compact("job", 0)
    assert world.outcomes.compact("job", 0)
    keys = world.database.job_keys("job")
    assert world.database.command("EXISTS", keys.results) == 0
    assert world.texts() == ["one", "two"]
    assert not world.outcomes.compact("job", 1)  # there is none


def test_the_script_itself_refuses_a_blob_for_an_open_shard(world: World) -> None:
    """The version guards as well, and the client looks first; this one holds alone."""
    world.store([(0, range(2))])
    world.settle(world.leases(world.take())[0])
    keys = world.database.job_keys("job")
    names = [keys.job, keys.states, keys.output, keys.results, keys.past]
    assert world.database.run("compact", names, [SCHEMA, 0, "0", 0, 2, b"blob"]) == [b"changed"]
    assert world.texts() == ["answer", None]


def late_script(world: World) -> Callable[[], str]:
    """Have the next compaction read now and write only when the returned call is made."""
    kept: list[tuple[list[str], list[object]]] = []

    def keep(script: str, keys: object, args: object) -> bool:
        if script == "compact":
            kept.append((list(keys), list(args)))  # type: ignore[call-overload]
        return script != "compact"

    world.database.before_script = keep  # type: ignore[attr-defined]

    def write() -> str:
        world.database.before_script = None  # type: ignore[attr-defined]
        keys, args = kept.pop()
        return str(world.database.run("compact", keys, args)[0].decode())  # type: ignore[arg-type]

    return write


def test_a_compaction_that_read_before_a_redrive_writes_nothing_after_it(world: World) -> None:
    world.store([(0, range(2))])
    leases = world.leases(world.take())
    world.settle(leases[0], text="kept")
    world.settle(leases[1], byte=ItemByte.FAILED, text="old")
    late = late_script(world)
    assert not world.outcomes.compact("job", 0)
    world.redrive(1)
    assert late() == "changed"  # open
    world.settle(world.leases(world.take())[1], text="new")
    world.redrive()
    late = late_script(world)
    assert not world.outcomes.compact("job", 0)
    assert late() == "ok"
    assert world.texts() == ["kept", "new"]


def test_a_late_compaction_does_not_swallow_the_outcome_of_a_redrive(world: World) -> None:
    world.store([(0, range(1))])
    world.settle(world.leases(world.take())[0], byte=ItemByte.FAILED, text="old")
    late = late_script(world)
    assert not world.outcomes.compact("job", 0)
    world.redrive(0)
    world.settle(world.leases(world.take())[0], text="new")
    assert late() == "changed"
    assert world.texts() == ["new"]


def test_two_compactions_at_once_lose_nothing(world: World) -> None:
    world.store([(0, range(2))])
    world.settle(*world.leases(world.take()).values(), text="kept")
    database = world.database
    calls = 0

    def other_compaction() -> None:
        nonlocal calls
        calls += 1
        if calls == step:
            database.meanwhile = None  # type: ignore[attr-defined]
            assert world.outcomes.compact("job", 0)

    for step in range(1, 7):  # before each of the six commands that a compaction reads with
        calls = 0
        world.redrive()
        database.meanwhile = other_compaction  # type: ignore[attr-defined]
        world.outcomes.compact("job", 0)
        database.meanwhile = None  # type: ignore[attr-defined]
        assert calls >= step
        assert world.texts() == ["kept", "kept"], f"the other came before command {step}"
        _loosen(world)


def _loosen(world: World) -> None:
    """Put the outcomes back where a settle leaves them."""
    from batchq.store import codec

    keys = world.database.job_keys("job")
    blob = world.database.command("HGET", keys.output, 0)
    for at, raw in enumerate(codec.unpack_outcomes(blob)):
        world.database.command("HSET", keys.results, at, codec.dump(raw))
    world.database.command("DEL", keys.output)


@pytest.mark.parametrize("step", range(1, 6))
@pytest.mark.parametrize("change", ["compact", "redrive", "redrive and settle"])
def test_a_reader_sees_every_outcome_whatever_happens_between_its_commands(
    world: World, change: str, step: int
) -> None:
    world.store([(0, range(2))])
    leases = world.leases(world.take())
    world.settle(leases[0], text="kept")
    world.settle(leases[1], byte=ItemByte.FAILED, text="old")
    database, calls = world.database, 0

    def others() -> None:
        nonlocal calls
        calls += 1
        if calls != step:
            return
        if change == "compact":
            assert world.outcomes.compact("job", 0)
            return
        items = [RedriveRequest(1, 0, "INVALID_ARGUMENT")]
        assert world.items.redrive("job", 0, items, first=True, change="", lanes=1) == 1
        if change == "redrive and settle":
            world.settle(world.leases(world.take())[1], text="new")

    database.meanwhile = others  # type: ignore[attr-defined]
    kept, other = world.results()
    database.meanwhile = None  # type: ignore[attr-defined]
    assert (kept.state, kept.outcome is not None) == (ItemState.SUCCEEDED, True)
    if change == "compact":
        assert other.state is ItemState.FAILED
    if other.state in (ItemState.SUCCEEDED, ItemState.FAILED):
        assert other.outcome is not None
        assert other.outcome.status is other.state
    else:
        assert other.outcome is None


# -- expiry ---------------------------------------------------------------------------------------------------


def ttls(world: World) -> set[int]:
    """The instants at which the keys of the job expire, Unix ms; -1: never."""
    names = world.database.command("KEYS", "*{job}*")
    assert len(names) >= 6
    return {world.database.command("PEXPIRETIME", name) for name in names}


def test_all_keys_of_a_job_expire_together_and_a_redrive_keeps_them_all(world: World) -> None:
    world.finished_with(ItemByte.FAILED, items=2, shards=2, retention_ms=DAY_MS)
    (instant,) = ttls(world)
    assert instant > 0
    world.outcomes.compact("job", 0)
    assert world.redrive(0) == 1
    assert ttls(world) == {-1}
    world.settle(world.leases(world.take())[0])
    assert world.finish() == "completed"
    (instant,) = ttls(world)
    assert instant > 0


def test_what_is_compacted_after_the_end_expires_with_the_job(world: World) -> None:
    world.finished_with(ItemByte.FAILED, items=2, shards=2, retention_ms=DAY_MS)
    world.outcomes.compact("job", 0)
    world.outcomes.compact("job", 1)
    assert len(ttls(world)) == 1


def test_the_list_of_purged_dead_letters_expires_with_its_job(world: World) -> None:
    world.finished_with(ItemByte.FAILED, retention_ms=DAY_MS)
    world.outcomes.purge("job", [0])
    assert world.outcomes.is_purged("job", 0)
    instants = ttls(world)
    assert (
        0 < min(instants) <= max(instants) <= min(instants) + 5_000
    )  # two commands, so not quite the same instant
    keys = world.database.job_keys("job")
    world.database.command("DEL", *keys.all(1))
    world.outcomes.purge("job", [0])  # by somebody who listed them before
    assert world.database.command("EXISTS", keys.purged) == 0


def test_a_job_without_retention_stays_for_ever(world: World) -> None:
    world.finished_with(ItemByte.FAILED, items=2, shards=2)
    assert ttls(world) == {-1}


def test_what_expired_is_gone_for_every_caller_and_leaves_nothing_behind(world: World) -> None:
    world.finished_with(ItemByte.FAILED, retention_ms=DAY_MS)
    world.database.command("DEL", *world.database.job_keys("job").all(1))
    with pytest.raises(NotFound):
        world.items.redrive("job", 0, [RedriveRequest(0, 0, "X")], first=True, change="", lanes=1)
    with pytest.raises(NotFound):
        world.jobs.hold("job", HoldCause.PERSON, "", "person")
    assert world.take().positions == ()
    assert world.claim_one(0, 1, "w1").verdict is Verdict.GONE
    lease = Lease(0, "n", 0, 1, 0, 0, 0, ())
    assert world.settle(lease).answers == ("stale",)
    assert world.release(lease).answer == "stale"
    assert world.items.mark_begun("job", "w1", [lease]) == ["stale"]
    assert world.heal().back == 0
    assert not world.outcomes.compact("job", 0)
    assert not world.jobs.cancel_sweep("job", 1)
    assert world.finish() is None
    world.jobs.forget("job")
    assert list(world.jobs.each()) == []
    assert world.everything() == {}


@pytest.mark.parametrize("compacted", list(product([True, False], repeat=3)))
def test_an_items_history_outlives_its_redrives(world: World, compacted: tuple[bool, ...]) -> None:
    world.store([(0, range(2))])
    world.settle(world.leases(world.take())[1], text="kept")
    world.go_on(LEASE_MAX_MS + 1)
    world.heal()
    told: list[str] = []
    for end, compacts in enumerate(compacted):
        world.release(one_more_call(world), ReleaseKind.RETRY, error=f"call {end}")
        told.append(f"call {end}")
        world.settle(one_more_call(world), byte=ItemByte.FAILED)
        assert lines(world) == told
        if compacts:
            assert world.outcomes.compact("job", 0)
            assert lines(world) == told
        world.redrive(0)
        told.append("sent back by a redrive")
    world.settle(one_more_call(world), text="at last")
    assert lines(world) == told
    assert world.outcomes.compact("job", 0)
    assert lines(world) == told
    assert world.texts() == ["at last", "kept"]
    assert not world.database.command("EXISTS", world.database.job_keys("job").past)


def test_poison_keeps_the_history_from_before_its_redrive(world: World) -> None:
    world.store([(0, range(1))])
    world.release(one_more_call(world), ReleaseKind.RETRY, error="before")
    world.settle(one_more_call(world), byte=ItemByte.DEAD_LETTER)
    world.redrive(0)
    world.release(one_more_call(world), ReleaseKind.RETRY, error="after")
    one_more_call(world)
    world.go_on(LEASE_MAX_MS + 1)
    assert world.heal(max_crashes=1).poisoned == 1
    assert lines(world) == ["before", "sent back by a redrive", "after"]


def test_of_a_long_history_the_newest_lines_are_kept(world: World) -> None:
    world.store([(0, range(1))])
    for end in range(KEPT_ATTEMPTS):
        world.release(one_more_call(world), ReleaseKind.RETRY, error=f"call {end}")
        world.settle(one_more_call(world), byte=ItemByte.FAILED)
        if end % 3:
            assert world.outcomes.compact("job", 0)
        world.redrive(0)
    world.settle(one_more_call(world))
    told = lines(world)
    assert len(told) == KEPT_ATTEMPTS
    assert told[-2:] == [f"call {KEPT_ATTEMPTS - 1}", "sent back by a redrive"]


def one_more_call(world: World) -> Lease:
    (position,) = (take := world.take()).positions
    return world.lease(position, take.ticket)


def lines(world: World) -> list[str]:
    outcome = world.results()[0].outcome
    assert outcome is not None
    return [line.error.message for line in outcome.history]


# -- a newer batchq's data ------------------------------------------------------------------------------------


def test_what_a_newer_batchq_stored_is_left_alone_by_every_call(world: World) -> None:
    world.store([(0, range(4))])
    lease = world.leases(world.take(2))[0]
    world.settle(lease, byte=ItemByte.FAILED)
    keys = world.database.job_keys("job")
    world.jobs.forget("job")
    world.database.command("HSET", keys.job, "v", SCHEMA + 1, "cancel", "cancel")
    world.go_on(300_000)
    before = {key: value for key, value in world.everything().items() if b"{job}" in key}
    assert world.take().positions == ()
    request = ClaimRequest(1, 1, "n", begun=True)
    assert world.items.claim("job", 0, "w2", [request])[0].verdict is Verdict.NEWER
    assert world.heal().back == 0
    refusals: list[Callable[[], object]] = [
        lambda: world.submissions.begin("job", "b", {}, STALE_MS),
        lambda: world.jobs.spec("job"),
        lambda: world.jobs.record("job"),
        lambda: world.jobs.state("job"),
        lambda: world.jobs.hold("job", HoldCause.PERSON, "", "person"),
        lambda: world.jobs.unhold("job", None, "person"),
        lambda: world.jobs.cancel("job", by="person"),
        lambda: world.jobs.delete("job"),
        lambda: world.items.redrive("job", 0, [RedriveRequest(0, 0, "X")], first=True, change="", lanes=1),
    ]
    for refused in refusals:
        with pytest.raises(NewerData):
            refused()
    assert not world.jobs.cancel_sweep("job", 1)
    assert world.finish() is None
    world.database.command("SET", keys.states, "FFFF")  # complete, as far as an older one can tell
    before[keys.states.encode()] = world.everything()[keys.states.encode()]
    assert not world.outcomes.compact("job", 0)
    with pytest.raises(Conflict):
        world.put("job", "sub", 1, 4, 0, range(4, 5))
    with pytest.raises(Conflict):
        world.submissions.put_file("job", "sub", "digest", b"")
    assert {key: value for key, value in world.everything().items() if b"{job}" in key} == before
    assert list(world.jobs.each()) == []


def test_an_end_is_one_of_the_states_that_the_contract_calls_ends(world: World) -> None:
    world.finished_with(ItemByte.SUCCEEDED)
    assert world.jobs.state("job") in ENDED
    assert world.release(Lease(0, "n", 0, 1, 0, 0, 0, ()), ReleaseKind.RETRY).answer == "stale"
