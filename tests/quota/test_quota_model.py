"""The quotas' scripts equal the model of core/quota.py, to the last permit, on generated histories."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from quota_histories import histories, on_histories

from batchq.core import pacific, permits, ring
from batchq.core.limits import QuotaLimits
from batchq.core.permits import Asked, Granted
from batchq.core.quota import Correction, Quota
from batchq.store.database import Database
from batchq.store.quotas import QuotaStore

START_MS = 1_800_000_000_000
OWNERS = ("a", "b", "c")

drawn_limits = st.builds(
    QuotaLimits,
    requests_per_minute=st.one_of(st.none(), st.sampled_from([1, 3, 15, 60, 600, 7_000])),
    tokens_per_minute=st.one_of(st.none(), st.sampled_from([100, 5_000, 1_000_000])),
    requests_per_day=st.one_of(st.none(), st.none(), st.sampled_from([5, 400])),
    concurrency=st.one_of(st.none(), st.none(), st.sampled_from([1, 20])),
    learns=st.booleans(),
)


def close_breaker(model: Quota) -> None:
    model.slowdown.row = model.slowdown.failing = 0
    model.slowdown.probe_for = ""


class Histories(RuleBasedStateMachine):
    """Script and model side by side: one to three quotas in sequence, three owners, every kind of event."""

    database: Database

    @initialize(confs=st.lists(drawn_limits, min_size=1, max_size=3))
    def begin(self, confs: list[QuotaLimits]) -> None:
        self.database.command("FLUSHALL")
        self.now = START_MS
        self.epoch = "one"
        self.store = QuotaStore(self.database)
        self.store.began_ms = START_MS
        self.names = [f"q{n}" for n in range(len(confs))]
        self.confs = confs
        self.models = [Quota() for _ in confs]
        self.real_ms = 0  # time as it truly passes, which the store's clock need not show
        self.last_draw: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.out: list[tuple[str, tuple[int, ...], int, int]] = []  # owner, buckets, tokens, size
        self.corrections: list[list[Correction]] = [[] for _ in confs]
        self.freed = dict.fromkeys(OWNERS, 0)
        self.succeeded = 0
        for owner in OWNERS:  # a first draw cannot know of a step of the clock before it
            self.somebody_draws(owner, [], 0)

    @rule(ms=st.one_of(st.integers(0, 300), st.integers(0, 5_000), st.integers(0, 70_000), st.just(400_000)))
    def time_passes(self, ms: int) -> None:
        self.now += ms
        self.real_ms += ms

    @rule(ms=st.sampled_from([-3_600_000, -5_000, -30, 20_000, 3_600_000, 90_000_000]))
    def the_clock_steps(self, ms: int) -> None:
        self.now += ms

    @rule(
        owner=st.sampled_from(OWNERS),
        wanted=st.lists(
            st.tuples(st.sampled_from([0, 1, 7, 60, 101, 3_000]), st.sampled_from([1, 1, 1, 4, 100])),
            max_size=40,
        ),
        ahead=st.sampled_from([0, 500, 1_500]),
        gate=st.sampled_from(["one", "another"]),
    )
    def somebody_draws(
        self, owner: str, wanted: list[tuple[int, int]], ahead: int, gate: str = "one"
    ) -> None:
        asked = Asked(
            owner=owner,
            costs=tuple(tokens for tokens, _ in wanted),
            ahead_ms=ahead,
            day_ends=pacific.pacific_days(self.now),
            expected_ms=self.expected(owner),
            freed=self.freed[owner],
            succeeded=self.succeeded,
            sizes=tuple(size for _, size in wanted),
            gate=gate,
        )
        granted = self.both(asked)
        self.last_draw[owner] = self.real_ms, granted.clocks_ms
        for slot, (tokens, size) in zip(granted.slots_ms, wanted, strict=False):
            buckets = tuple((clock + slot) // ring.BUCKET_MS for clock in granted.clocks_ms)
            self.out.append((owner, buckets, tokens, size))
        assert (
            len(granted.slots_ms) == len(wanted) or granted.wait_ms > 0 or granted.slots_ms or granted.binding
        )
        assert list(granted.slots_ms) == sorted(granted.slots_ms)
        assert all(0 <= slot <= ahead for slot in granted.slots_ms)

    def expected(self, owner: str) -> tuple[int, ...]:
        if owner not in self.last_draw:
            return ()
        at_ms, clocks_ms = self.last_draw[owner]
        return tuple(clock + self.real_ms - at_ms for clock in clocks_ms)

    def both(self, asked: Asked) -> Granted:
        self.database.now_ms = self.now
        self.store.epoch = self.epoch
        script = self.store.draw(self.names, self.confs, asked, self.corrections)
        for model, conf in zip(self.models, self.confs, strict=True):
            model.configure(conf, START_MS)
        expected = permits.draw(
            self.models, asked, now_ms=self.now, epoch=self.epoch, corrections=self.corrections
        )
        assert script == expected
        self.corrections = [[] for _ in self.names]
        self.freed[asked.owner] = 0
        self.succeeded = 0
        return script

    @rule(data=st.data(), used=st.booleans(), tokens=st.sampled_from([0, 1, 50, 4_000]))
    def a_permit_ends(self, data: st.DataObject, used: bool, tokens: int) -> None:
        if not self.out:
            return
        number = data.draw(st.integers(0, len(self.out) - 1), label="permit")
        owner, buckets, estimate, size = self.out.pop(number)
        self.freed[owner] += 1
        self.succeeded += used
        change = (0, tokens - estimate) if used else (-size, -estimate)
        for mine, bucket in zip(self.corrections, buckets, strict=True):
            mine.append(Correction(bucket, *change))

    @rule(
        which=st.integers(0, 2),
        kind=st.sampled_from(["hold", "day", "capacity"]),
        for_ms=st.sampled_from([0, 700, 30_000]),
        learnt=st.sampled_from(
            [QuotaLimits(), QuotaLimits(requests_per_minute=30), QuotaLimits(tokens_per_minute=2_000)]
        ),
    )
    def the_provider_refuses(self, which: int, kind: str, for_ms: int, learnt: QuotaLimits) -> None:
        which %= len(self.names)
        self.database.now_ms = self.now
        script = self.store.refuse(self.names[which], kind, for_ms, learnt)
        assert script == self.models[which].refuse(self.now, kind, for_ms, learnt)

    @rule(
        which=st.integers(0, 2),
        calls=st.integers(1, 30),
        succeeded=st.integers(0, 3),
        row=st.sampled_from([2, 6, 20]),
    )
    def calls_get_no_answer(self, which: int, calls: int, succeeded: int, row: int) -> None:
        which %= len(self.names)
        self.database.now_ms = self.now
        for _ in range(calls):
            script = self.store.fail(self.names[which], succeeded, row)
            assert script == self.models[which].fail(self.now, succeeded, row)
            succeeded = 0

    @rule(which=st.integers(0, 2), rpm=st.sampled_from([0, 2, 100]))
    def somebody_sets_a_limit(self, which: int, rpm: int) -> None:
        which %= len(self.names)
        self.store.set(self.names[which], QuotaLimits(requests_per_minute=rpm))
        model = self.models[which]
        model.set = replace(model.set, requests_per_minute=rpm)

    @rule(which=st.integers(0, 2), on=st.booleans())
    def somebody_pauses_or_resumes(self, which: int, on: bool) -> None:
        which %= len(self.names)
        model = self.models[which]
        if on:
            self.store.pause(self.names[which])
            model.paused = True
        else:
            self.store.resume(self.names[which])
            model.paused, model.hold_ms, model.why = False, 0, ""
            close_breaker(model)

    @rule(which=st.integers(0, 2))
    def somebody_resets(self, which: int) -> None:
        which %= len(self.names)
        self.store.reset(self.names[which])
        model = self.models[which]
        model.set, model.learnt = QuotaLimits(), QuotaLimits()
        model.slowdown.cap = model.slowdown.top = 0
        close_breaker(model)

    @rule(owner=st.sampled_from(OWNERS))
    def a_worker_is_killed(self, owner: str) -> None:
        """What it held in flight is free, its permits stay counted; another begins in its place."""
        alive = [one for one in OWNERS if one != owner]
        for name, model in zip(self.names, self.models, strict=True):
            self.store.clear_owners(name, alive)
            model.flying.pop(owner, None)
        self.out = [permit for permit in self.out if permit[0] != owner]
        self.freed[owner] = 0

    @rule(name=st.sampled_from(["one", "two", "three"]))
    def the_server_fails_over(self, name: str) -> None:
        self.epoch = name

    @invariant()
    def both_count_the_same(self) -> None:
        for name, model in zip(getattr(self, "names", ()), getattr(self, "models", ()), strict=True):
            state, slots = self.database.keys.quota(name), self.database.keys.quota_slots(name)
            sums, flying = self.database.batch([("HMGET", state, "sum_r", "sum_t"), ("HGETALL", slots)])
            assert [int(one or 0) for one in sums] == [model.ring.requests, model.ring.tokens]
            assert {owner.decode(): int(n) for owner, n in flying.items()} == {
                owner: n for owner, n in model.flying.items() if n
            }

    @invariant()
    def the_account_is_what_is_out(self) -> None:
        """The sums are those of the buckets, and none is negative."""
        for model in getattr(self, "models", ()):
            ring = model.ring
            assert ring.requests == sum(ring.of_requests.values())
            assert ring.tokens == sum(ring.of_tokens.values())
            assert all(n >= 0 for n in (*ring.of_requests.values(), *ring.of_tokens.values()))


@on_histories
def test_the_script_equals_the_model_to_the_last_permit(database: Database, examples: int) -> None:
    Histories.database = database
    run_state_machine_as_test(Histories, settings=histories(examples))
