"""The events of a job: one for each pause, one for the end of each generation, whoever writes it."""

from __future__ import annotations

from store_world import DAY_MS, FATAL_LIMIT, World

from batchq.core.lifecycle import HoldCause, ItemByte
from batchq.store.leases import ReleaseKind

WEBHOOK = "https://hooks.example/"


def told(world: World) -> list[tuple[str, str]]:
    return [(event.number, event.type) for event in world.events.waiting("job")]


def test_each_end_of_a_job_is_an_event_of_its_generation(world: World) -> None:
    world.store([(0, range(2))], webhook=WEBHOOK, retention_ms=DAY_MS)
    world.settle(*world.leases(world.take()).values(), byte=ItemByte.FAILED)
    world.finish()
    world.finish("another finisher")
    assert told(world) == [("0", "completed")]
    world.go_on(1_000)
    world.redrive(0)
    world.settle(*world.leases(world.take()).values())
    world.finish()
    assert told(world) == [("0", "completed"), ("1", "completed")]
    assert 0 < world.database.command("PTTL", world.database.job_keys("job").events) <= DAY_MS


def test_a_job_that_failed_ends_with_an_event_and_a_reason_until_a_redrive(world: World) -> None:
    world.store([(0, range(2))], webhook=WEBHOOK)
    world.settle(*world.leases(world.take()).values(), byte=ItemByte.FAILED)
    generation = world.jobs.finish_begin("job", "finisher")
    assert generation is not None
    assert world.jobs.finish_commit(world.spec, "finisher", generation, 'it "broke"') == "failed"
    assert told(world) == [("0", "failed")]
    assert (world.record.state, world.record.error) == ("failed", 'it "broke"')
    assert (world.record.history[-1].change, world.record.history[-1].why) == ("failed", 'it "broke"')
    world.redrive(0)
    assert (world.record.state, world.record.error) == ("processing", None)


def test_a_cancelled_job_ends_with_an_event(world: World) -> None:
    world.store([(0, range(2))], webhook=WEBHOOK)
    world.jobs.cancel("job", by="person")
    assert told(world) == []
    world.jobs.cancel_sweep("job", 1)
    world.finish()
    assert told(world) == [("0", "cancelled")]


def test_a_job_that_is_paused_already_is_not_paused_again(world: World) -> None:
    world.store([(0, range(2))], webhook=WEBHOOK)
    world.jobs.hold("job", HoldCause.PERSON, "", "person")
    world.jobs.hold("job", HoldCause.FATAL, "", "worker")
    world.jobs.unhold("job", HoldCause.FATAL, "person")
    assert told(world) == [("0-p1", "paused")]
    world.jobs.unhold("job", None, "person")
    world.go_on(1_000)
    world.jobs.hold("job", HoldCause.PERSON, "", "person")
    assert told(world) == [("0-p1", "paused"), ("0-p2", "paused")]


def test_fatal_errors_in_a_row_are_a_pause(world: World) -> None:
    world.store([(0, range(FATAL_LIMIT + 2))], webhook=WEBHOOK)
    world.beat("w1")
    for lease in world.leases(world.take()).values():
        world.release(lease, ReleaseKind.FATAL)
    assert told(world) == [("0-p1", "paused")]


def test_a_job_without_a_webhook_has_none(world: World) -> None:
    world.store([(0, range(2))])
    world.jobs.hold("job", HoldCause.PERSON, "", "person")
    world.jobs.cancel("job", by="person")
    world.jobs.cancel_sweep("job", 1)
    world.finish()
    assert told(world) == []


def test_one_takes_an_event_and_it_is_due_again_later(world: World) -> None:
    world.store([(0, range(2))], webhook=WEBHOOK)
    world.jobs.hold("job", HoldCause.PERSON, "", "person")
    [event] = world.events.waiting("job")
    assert world.events.claim("job", event, world.now_ms + 5_000)
    assert not world.events.claim("job", event, world.now_ms + 5_000)
    [again] = world.events.waiting("job")
    assert (again.number, again.tries, again.due_ms) == (event.number, 1, world.now_ms + 5_000)
    world.events.take_off("job", again)
    assert not world.events.claim("job", again, world.now_ms), "what was taken off stays off"
    assert told(world) == []
