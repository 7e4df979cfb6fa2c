"""On every history the scripts and a plain model of them agree, and the invariants of the store hold.

Workers take, claim, call, settle and give back; messages come late, doubled or never; workers die and come back
as zombies; the store falls silent; people pause, cancel and redrive; compactions and finishers are held up
between their reading and their writing. Time is an argument, so nothing sleeps and nothing is approximate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from store_model import DEAD, PENDING, PROCESSING, Entry, HealRules, Model, ModelItem
from store_world import (
    FATAL_LIMIT,
    LEASE_MAX_MS,
    LEASE_MS,
    MAX_CRASHES,
    PERIOD_MS,
    RETRY_LATE_MS,
    START_MS,
    UNDELIVERED_MS,
    USAGE,
    CheckedDatabase,
    World,
    outcome,
    text_of,
)

from batchq.core.lifecycle import ENDED, MOVES, STATE_OF_BYTE, HoldCause, ItemByte, JobState
from batchq.errors import Conflict
from batchq.store import codec
from batchq.store.database import Arg
from batchq.store.jobs import FINISHER_STALE_MS
from batchq.store.keys import GlobalKeys
from batchq.store.leases import (
    ClaimRequest,
    Lease,
    RedriveRequest,
    ReleaseKind,
    ReleaseRequest,
    SettleRequest,
    Verdict,
)

SHARDS = [(0, (0, 1, 4)), (1, (2, 3)), (0, (5, 7, 8)), (1, (6,)), (0, (9,))]
UNSENDABLE = 4  # an ordinal
DEADLINE_MS = START_MS + 20_000
WINDOWS = (4, 2)
SWEPT_AT_ONCE = 2
ALWAYS_MS = 10**12  # as the period of a beat: no silence is an outage
RULES = HealRules(LEASE_MS, LEASE_MAX_MS, UNDELIVERED_MS, RETRY_LATE_MS, MAX_CRASHES)
COUNTERS = {"S": "n_S", "F": "n_F", "D": "n_D", "X": "n_X"}
namespaces = count()

picks = st.integers(0, 1_000)
lanes = st.integers(0, 1)


def _one_of(ever: list[Any], good: Callable[[Any], bool], pick: int) -> Any:
    """One that still counts, for three picks in four; else any that ever was."""
    chosen = [one for one in ever if good(one)] if pick % 4 else ever
    return (chosen or ever)[pick // 4 % len(chosen or ever)]


class History(RuleBasedStateMachine):
    """One job of two lanes, three workers at a time, and everything that can go wrong."""

    def __init__(self, database: CheckedDatabase) -> None:
        super().__init__()
        database.namespace = f"history{next(namespaces)}"
        database.keys = GlobalKeys(database.namespace)
        database.dark_ms = 0
        database.before_script = self._before_script
        self.database = database
        self.world = World(database)
        self.items, self.jobs = self.world.items, self.world.jobs
        self.outcomes = self.world.outcomes
        self.spec = self.world.store(SHARDS, bad=[UNSENDABLE], deadline_ms=DEADLINE_MS)
        self.model = Model(self._model_items(), deadline=DEADLINE_MS)
        self.before = self.model.states
        self.workers = ["w0", "w1", "w2"]
        self.born = len(self.workers)
        self.last_beat: dict[str, int] = {}
        self.weather = {"last": 0, "dark": 0, "grace": 0}
        self.messages: list[tuple[int, int, int]] = []  # lane, position, ticket; all ever sent, late ones too
        self.leases: list[tuple[int, int, str, str]] = []  # lane, position, owner, nonce; all ever had
        self.finishers: list[tuple[str, int]] = []
        self.held_up: list[tuple[Sequence[str], Sequence[Arg], int, int]] = []  # compactions that have read
        self.answers = 0
        self._beat(*self.workers, period_ms=PERIOD_MS)

    @staticmethod
    def _model_items() -> list[ModelItem]:
        rows = [(ordinal, lane, shard) for shard, (lane, own) in enumerate(SHARDS) for ordinal in own]
        items = [ModelItem(at, ordinal, lane, shard) for at, (ordinal, lane, shard) in enumerate(rows)]
        for item in items:
            if item.ordinal == UNSENDABLE:
                item.settle("F", "unreadable", "INVALID_ARGUMENT")
        return items

    def _before_script(self, script: str, keys: Sequence[str], args: Sequence[Arg]) -> bool:
        """A compaction is held up between its reading and its writing."""
        if script == "compact" and self.holding_up is not None:
            shard = self.holding_up
            self.held_up.append((list(keys), list(args), shard, self.model.versions.get(shard, 0)))
            return False
        return True

    holding_up: int | None = None

    @property
    def now(self) -> int:
        return self.world.now_ms

    @property
    def dead_letters(self) -> int:
        return sum(item.byte in DEAD for item in self.model.items)

    @property
    def complete_shards(self) -> list[int]:
        return [shard for shard in range(len(SHARDS)) if self.model.complete(shard)]

    @property
    def dark(self) -> int:
        return self.weather["dark"]

    # -- time and workers -----------------------------------------------------------------------------------

    def _beat(self, *workers: str, period_ms: int) -> None:
        for worker in workers:
            last = self.weather["last"] or self.now
            if self.now - last > 2 * period_ms:
                self.weather["dark"] += self.now - last - period_ms
                self.weather["grace"] = self.now + LEASE_MS
            self.weather["last"] = self.last_beat[worker] = self.now
            self.world.beat(worker, period_ms=period_ms)
        assert self.database.dark_ms == self.dark

    @rule(
        ms=st.sampled_from([1, 500, 4_000, 14_000, 16_000, 31_000, 200_000, 90_000_000]), swept=st.booleans()
    )
    def time_passes(self, ms: int, swept: bool) -> None:
        self.world.outage(ms)
        self._beat(*self.workers, period_ms=ALWAYS_MS)
        if swept:
            self._heal()

    @rule(ms=st.sampled_from([9_000, 40_000, 1_000_000]), sweeper_first=st.booleans())
    def the_store_is_silent(self, ms: int, sweeper_first: bool) -> None:
        self.world.outage(ms)
        if sweeper_first:  # it finds what the first heartbeat will find
            healed = self.world.heal()
            dark, grace = self.dark + ms - PERIOD_MS, self.now + LEASE_MS
            alive = {worker for worker, beat in self.last_beat.items() if self.now - beat <= LEASE_MS}
            expected = self.model.heal(alive, self.now, dark, grace, RULES)
            assert (healed.back, healed.poisoned, healed.cancelled, healed.lost_calls) == expected
        self._beat(self.workers[0], period_ms=PERIOD_MS)

    @rule(pick=picks, noticed=st.booleans())
    def a_worker_dies_and_another_starts(self, pick: int, noticed: bool) -> None:
        self.workers.pop(pick % len(self.workers))
        self.workers.append(f"w{self.born}")
        self.born += 1
        if noticed:
            self.world.outage(LEASE_MS + 1)
            self._beat(*self.workers, period_ms=ALWAYS_MS)
            self._heal()

    # -- the walk -------------------------------------------------------------------------------------------

    @rule(lane=lanes, most=st.sampled_from([1, 2, 100]), at_once=st.booleans())
    def a_wave_goes_out(self, lane: int, most: int, at_once: bool) -> None:
        """`at_once`: and is claimed whole."""
        wave = self.items.take(self.spec.id, lane, most, WINDOWS[lane])
        assert list(wave.positions) == self.model.take(lane, most, WINDOWS[lane], self.now, self.dark)
        if wave.positions:
            assert wave.ticket == self.model.ticket
        self.messages += [(lane, position, wave.ticket) for position in wave.positions]
        if at_once and wave.positions:
            self._claim(lane, self.messages[-len(wave.positions) :], self.workers[0], begun=True)

    @rule(lane=lanes, bytes_=st.text("SSFD", min_size=4, max_size=4))
    def a_wave_is_worked_off(self, lane: int, bytes_: str) -> None:
        self._work_off(lane, self.workers[0], bytes_)

    @precondition(lambda self: self.messages)
    @rule(
        choices=st.lists(picks, min_size=1, max_size=3),
        worker=picks,
        begun=st.booleans(),
        doubled=st.booleans(),
        again=st.booleans(),
    )
    def messages_arrive(
        self, choices: list[int], worker: int, begun: bool, doubled: bool, again: bool
    ) -> None:
        """Fresh ones mostly; some twice within one call; `again`: with the nonce of an earlier claim."""
        owner = self.workers[worker % len(self.workers)]
        chosen = [_one_of(self.messages, self._fresh, choice) for choice in choices]
        lane = chosen[0][0]
        chosen = [message for message in chosen if message[0] == lane]
        if doubled:
            chosen.append(chosen[0])
        old = [lease for lease in self.leases if lease[1] == chosen[0][1]]
        if again and old:
            self._claim(lane, chosen[:1], old[-1][2], begun, nonce=old[-1][3])
        else:
            self._claim(lane, chosen, owner, begun)

    def _claim(
        self, lane: int, messages: list[tuple[int, int, int]], owner: str, begun: bool, nonce: str = ""
    ) -> None:
        self.every_move_is_in_the_table()
        requests = [
            ClaimRequest(position, ticket, nonce or self.world.nonce(), begun)
            for _, position, ticket in messages
        ]
        answers = self.items.claim(self.spec.id, lane, owner, requests)
        for one, answer in zip(requests, answers, strict=True):
            expected = self.model.claim(
                one.position, one.ticket, owner, one.nonce, one.begun, self.now, self.dark
            )
            assert answer.verdict == expected
            if answer.verdict is Verdict.OK:
                self.leases.append((lane, one.position, owner, one.nonce))

    def _fresh(self, message: tuple[int, int, int]) -> bool:
        entry = self.model.items[message[1]].entry
        return entry is not None and not entry.owner and entry.ticket == message[2]

    def _valid(self, lease: tuple[int, int, str, str]) -> bool:
        entry = self.model.items[lease[1]].entry
        return entry is not None and entry.belongs_to(*lease[2:])

    def _lease(self, pick: int) -> tuple[int, Lease, str]:
        lane, position, owner, nonce = _one_of(self.leases, self._valid, pick)
        return lane, Lease(position, nonce, 0, 0, 0, 0, 0, ()), owner

    @precondition(lambda self: self.leases)
    @rule(pick=picks)
    def a_call_begins(self, pick: int) -> None:
        _, lease, owner = self._lease(pick)
        expected = self.model.mark_begun(lease.position, owner, lease.nonce)
        assert self.items.mark_begun(self.spec.id, owner, [lease]) == [expected]

    @precondition(lambda self: self.leases)
    @rule(pick=picks, byte=st.sampled_from("SSFD"), twice=st.booleans())
    def a_worker_settles(self, pick: int, byte: str, twice: bool) -> None:
        lane, lease, owner = self._lease(pick)
        self._settle(lane, lease, owner, byte, twice)

    def _settle(self, lane: int, lease: Lease, owner: str, byte: str, twice: bool = False) -> None:
        self.every_move_is_in_the_table()
        self.answers += 1
        text = f"answer {self.answers}"
        request = self._settle_request(lease, byte, text)
        settled = self.items.settle(self.spec.id, lane, owner, [request] * (2 if twice else 1))
        answers = [self.model.settle(lease.position, owner, lease.nonce, byte, text)]
        if twice:
            answers.append(self.model.settle(lease.position, owner, lease.nonce, byte, "late"))
        self.model.success_ends_fatal_row((answer, byte) for answer in answers)
        assert list(settled.answers) == answers
        if answers[0] == "ok":
            shard = self.model.items[lease.position].shard
            assert settled.complete == ((shard,) if self.model.complete(shard) else ())
            assert settled.done == (self.model.open == 0)

    @staticmethod
    def _settle_request(lease: Lease, byte: str, text: str) -> SettleRequest:
        letter = ItemByte(byte)
        blob = codec.pack_outcome(outcome(letter, text))
        kind = "" if byte == "S" else "INVALID_ARGUMENT"
        return SettleRequest(lease.position, lease.nonce, letter, blob, 50, 100, USAGE, 0.1, kind)

    @precondition(lambda self: self.leases)
    @rule(
        pick=picks,
        kind=st.sampled_from(ReleaseKind),
        delay=st.sampled_from([0, 2_000, 60_000]),
        by_message=st.booleans(),
    )
    def a_worker_gives_back(self, pick: int, kind: ReleaseKind, delay: int, by_message: bool) -> None:
        lane, lease, owner = self._lease(pick)
        request = ReleaseRequest(lease.position, lease.nonce, kind, delay, by_message)
        (answer,) = self.items.release(self.spec.id, lane, owner, [request], fatal_limit=FATAL_LIMIT)
        expected = self.model.release(
            lease.position, owner, lease.nonce, kind, delay, by_message, FATAL_LIMIT, self.now, self.dark
        )
        assert answer.answer == expected
        assert answer.job_held == bool(self.model.holds)
        if expected == "retry":
            assert answer.ticket == self.model.ticket
            self.messages.append((lane, lease.position, answer.ticket))

    @rule()
    def the_sweeper_heals(self) -> None:
        self._heal()

    def _heal(self) -> None:
        self.every_move_is_in_the_table()
        healed = self.world.heal()
        alive = {worker for worker, beat in self.last_beat.items() if self.now - beat <= LEASE_MS}
        expected = self.model.heal(alive, self.now, self.dark, self.weather["grace"], RULES)
        assert (healed.back, healed.poisoned, healed.cancelled, healed.lost_calls) == expected

    # -- people ---------------------------------------------------------------------------------------------

    @rule(dice=picks, cause=st.sampled_from([HoldCause.PERSON, HoldCause.BUDGET]))
    def somebody_pauses(self, dice: int, cause: HoldCause) -> None:
        if dice % 3 != 1:
            return
        if self.model.ended or self.model.cancelled:
            with pytest.raises(Conflict):
                self.jobs.hold(self.spec.id, cause, "", "person")
        else:
            assert self.jobs.hold(self.spec.id, cause, "", "person") == self.model.hold(cause)

    @precondition(lambda self: self.model.holds or self.model.ended)
    @rule(cause=st.sampled_from([*HoldCause, None, None]))
    def somebody_resumes(self, cause: HoldCause | None) -> None:
        if self.model.ended or self.model.cancelled:
            with pytest.raises(Conflict):
                self.jobs.unhold(self.spec.id, cause, "person")
        else:
            assert self.jobs.unhold(self.spec.id, cause, "person") == self.model.unhold(cause)

    @rule(dice=picks, cause=st.sampled_from(["cancel", "deadline"]))
    def somebody_cancels(self, dice: int, cause: str) -> None:
        if dice % 13 != 3:
            return
        expected = self.model.cancel(cause, self.now)
        if expected is None:
            with pytest.raises(Conflict):
                self.jobs.cancel(self.spec.id, cause=cause, by="person")
        else:
            assert self.jobs.cancel(self.spec.id, cause=cause, by="person") == expected

    @precondition(lambda self: self.model.cancelled)
    @rule()
    def a_cancelled_job_is_swept(self) -> None:
        assert self.jobs.cancel_sweep(self.spec.id, 2) == self.model.sweep(len(SHARDS), SWEPT_AT_ONCE)

    @precondition(lambda self: self.dead_letters > 1)  # one could not be sent in the first place
    @rule(lane=lanes, first=st.booleans(), keep=st.sets(st.integers(0, 9)))
    def somebody_redrives(self, lane: int, first: bool, keep: set[int]) -> None:
        chosen = [item for item in self.model.items if item.lane == lane and item.position not in keep]
        items = [RedriveRequest(item.position, item.shard, item.kind) for item in chosen]

        def redrive() -> int:
            return self.items.redrive(self.spec.id, lane, items, first=first, change="", lanes=2)

        if self.model.cancelled == "cancel":
            with pytest.raises(Conflict):
                redrive()
        else:
            assert redrive() == self.model.redrive([item.position for item in chosen], first)

    # -- compacting and finishing ---------------------------------------------------------------------------

    @precondition(lambda self: self.complete_shards)
    @rule(shard=st.integers(0, len(SHARDS) - 1))
    def a_shard_is_compacted(self, shard: int) -> None:
        assert self.outcomes.compact(self.spec.id, shard) or not self.model.complete(shard)

    @precondition(lambda self: self.complete_shards)
    @rule(pick=picks)
    def a_compaction_is_held_up(self, pick: int) -> None:
        self.holding_up = self.complete_shards[pick % len(self.complete_shards)]
        self.outcomes.compact(self.spec.id, self.holding_up)
        self.holding_up = None

    @precondition(lambda self: self.held_up)
    @rule(pick=picks)
    def a_late_compaction_writes(self, pick: int) -> None:
        keys, args, shard, version = self.held_up.pop(pick % len(self.held_up))
        (reply,) = self.database.run("compact", keys, args)
        valid = self.model.versions.get(shard, 0) == version and self.model.complete(shard)
        assert reply == (b"ok" if valid else b"changed")

    @precondition(lambda self: self.model.open <= 1)
    @rule(owner=st.sampled_from(["f0", "f1"]))
    def a_finisher_begins(self, owner: str) -> None:
        generation = self.jobs.finish_begin(self.spec.id, owner)
        assert generation == self.model.finish_begin(owner, self.now, FINISHER_STALE_MS)
        if generation is not None:
            self.finishers.append((owner, generation))

    @precondition(lambda self: self.finishers)
    @rule(pick=picks)
    def a_finisher_commits(self, pick: int) -> None:
        owner, generation = self.finishers[-1 - pick % len(self.finishers)]
        state = self.jobs.finish_commit(self.spec, owner, generation)
        assert state == self.model.finish_commit(owner, generation)

    # -- what always holds ----------------------------------------------------------------------------------

    def _read(self) -> tuple[dict[str, str], str, dict[int, list[str]], list[dict[str, int]], list[set[int]]]:
        keys = self.database.job_keys(self.spec.id)
        record, states, flight, *rest = self.database.batch(
            [
                ("HGETALL", keys.job),
                ("GET", keys.states),
                ("HGETALL", keys.flight),
                *(("HMGET", keys.lane(lane), "pending", "processing") for lane in (0, 1)),
                *(("ZRANGE", keys.back(lane), 0, -1) for lane in (0, 1)),
            ]
        )
        lanes_ = [{"pending": int(row[0] or 0), "processing": int(row[1] or 0)} for row in rest[:2]]
        entries = {int(at): raw.decode().split("|", 15) for at, raw in flight.items()}
        texts = {name.decode(): value.decode() for name, value in record.items()}
        return texts, states.decode(), entries, lanes_, [{int(one) for one in row} for row in rest[2:]]

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        record, states, flight, lane_counts, back = self._read()
        assert states == self.model.states
        self._counts_sum(record, states, lane_counts)
        self._flight_is_whole(states, flight, back)
        model = self.model
        assert record["state"] == model.state
        assert {cause for cause in record.get("holds", "").split(",") if cause} == model.holds
        assert record.get("cancel") == model.cancelled
        for name in ("gen", "ticket", "fatal_row", "requests", "retries", "rate_limited", "repeated"):
            assert int(record.get(name, 0)) == getattr(model, name), name
        errors = {name[4:]: int(n) for name, n in record.items() if name.startswith("err:")}
        kinds = [item.kind for item in model.items if item.kind]
        assert {kind: n for kind, n in errors.items() if n} == {kind: kinds.count(kind) for kind in {*kinds}}

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        for old, new in zip(self.before, self.model.states, strict=True):
            was, is_ = STATE_OF_BYTE[old], STATE_OF_BYTE[new]
            assert was is is_ or is_ in MOVES[was], f"{old} became {new}"
        self.before = self.model.states

    def _counts_sum(self, record: dict[str, str], states: str, lane_counts: list[dict[str, int]]) -> None:
        counted = {name: sum(map(states.count, letters)) for letters, name in COUNTERS.items()}
        counted |= {"pending": sum(map(states.count, PENDING))}
        counted |= {"processing": sum(map(states.count, PROCESSING))}
        assert {name: int(record.get(name, 0)) for name in counted} == counted
        assert sum(counted.values()) == int(record["total"]) == len(states)
        for name in ("pending", "processing"):
            assert sum(lane[name] for lane in lane_counts) == counted[name]
        for lane, window in zip(lane_counts, WINDOWS, strict=True):
            assert lane["processing"] <= window

    def _flight_is_whole(self, states: str, flight: dict[int, list[str]], back: list[set[int]]) -> None:
        assert back == [{item.position for item in self.model.lane(lane, "b")} for lane in (0, 1)]
        assert set(flight) == {at for at, byte in enumerate(states) if byte in f"b{PROCESSING}"}
        for at, fields in flight.items():
            item = self.model.items[at]
            assert fields[:2] == [str(item.lane), str(item.shard)]
            ticket, attempts, crashes, crashed, undelivered, since, dark, due = map(int, fields[2:10])
            owner, nonce, begun, limited = fields[10:14]
            found = Entry(ticket, attempts, crashes, crashed, undelivered, since, dark, due, owner, nonce)
            found.begun, found.limited = begun == "1", int(limited)
            assert found == item.entry
            assert (ticket > 0) == (states[at] in PROCESSING)  # a void ticket lies in `back`, and only there
            assert bool(owner) == (states[at] == "l")

    @rule()
    def somebody_reads_the_results(self) -> None:
        self._results_belong_to_their_items()

    def _results_belong_to_their_items(self) -> None:
        results = list(self.outcomes.results(self.spec.id, lanes=2))
        assert [result.ordinal for result in results] == list(range(len(self.model.items)))
        assert {result.position: text_of(result) for result in results} == {
            item.position: item.text for item in self.model.items
        }
        for result in results:
            assert result.state is STATE_OF_BYTE[self.model.items[result.position].byte]
            assert result.id == f"item-{result.ordinal}"

    # -- nothing is lost ------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Whatever happened: with one worker that lives, everything ends, and every answer is there."""
        try:
            self._drive_to_completion()
        finally:
            self.database.before_script = None

    def _drive_to_completion(self) -> None:
        if not self.model.ended and not self.model.cancelled:
            self.jobs.unhold(self.spec.id, None, "person")
            self.model.unhold(None)
        self.workers = ["survivor"]
        for _ in range(60):
            if not self.model.open:
                break
            self.world.outage(2**14 * UNDELIVERED_MS)
            self._beat("survivor", period_ms=ALWAYS_MS)
            self._heal()
            for lane in (0, 1):
                self._work_off(lane, "survivor", "SSSS")
            if self.model.cancelled:
                assert self.jobs.cancel_sweep(self.spec.id, 2) == self.model.sweep(len(SHARDS), SWEPT_AT_ONCE)
            self.the_store_is_as_the_model_says()
        assert self.model.open == 0, self.model.states
        if not self.model.ended:
            self.world.outage(FINISHER_STALE_MS + 1)  # one that began is dead by now
            generation = self.jobs.finish_begin(self.spec.id, "last")
            assert generation is not None
            assert self.model.finish_begin("last", self.now, FINISHER_STALE_MS) == generation
            state = self.jobs.finish_commit(self.spec, "last", generation)
            assert state == self.model.finish_commit("last", generation)
        assert JobState(self.model.state) in ENDED
        for shard in range(len(SHARDS)):
            assert self.outcomes.compact(self.spec.id, shard)
        assert self.outcomes.loose_shards(self.spec.id) == []
        self._results_belong_to_their_items()

    def _work_off(self, lane: int, owner: str, bytes_: str) -> None:
        self.every_move_is_in_the_table()
        wave = self.items.take(self.spec.id, lane, 100, WINDOWS[lane])
        assert list(wave.positions) == self.model.take(lane, 100, WINDOWS[lane], self.now, self.dark)
        for position, byte in zip(wave.positions, bytes_, strict=False):
            self._claim(lane, [(lane, position, wave.ticket)], owner, begun=True)
            assert self.leases[-1][1] == position
            self._settle(lane, Lease(position, self.leases[-1][3], 0, 0, 0, 0, 0, ()), owner, byte)


def run(database: CheckedDatabase, monkeypatch: pytest.MonkeyPatch, **how_much: Any) -> None:
    monkeypatch.setattr("batchq.store.jobs.CANCEL_SHARDS", SWEPT_AT_ONCE)
    everything = settings(
        deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True, **how_much
    )
    machine = cast(type[RuleBasedStateMachine], lambda: History(database))
    run_state_machine_as_test(machine, settings=everything)


def test_every_history_keeps_the_promises_of_the_store(
    checked: CheckedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checked, monkeypatch, max_examples=50, stateful_step_count=50, derandomize=True)


@pytest.mark.scale
@pytest.mark.timeout(1_800)
def test_thousands_of_histories_keep_the_promises_of_the_store(
    checked: CheckedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checked, monkeypatch, max_examples=2_000, stateful_step_count=120)
