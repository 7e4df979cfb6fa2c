"""Nothing is lost and nothing is over, on generated histories of a fleet whose workers die, return and correct."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from quota_histories import histories, holds, on_histories

from batchq.core import pacific, permits, ring
from batchq.core.limits import QuotaLimits
from batchq.core.permits import Asked
from batchq.core.quota import Correction, Quota
from batchq.store.database import Database
from batchq.store.quotas import QuotaStore

START_MS = 1_800_000_000_000
SLACK_MS = ring.VALID_MS + ring.TRAVEL_MS  # a later call may come so much closer to an earlier one


@dataclass(slots=True, eq=False)
class Permit:
    at_ms: int  # its slot, as time truly passes
    bucket: int
    tokens: int  # what it is counted with


class Books(RuleBasedStateMachine):
    """The script keeps the account, the test keeps books of every permit: both must agree at every moment."""

    database: Database

    @initialize(
        rpm=st.sampled_from([3, 60, 600, 3_000]),
        tpm=st.sampled_from([400, 20_000, 1_000_000]),
        concurrency=st.sampled_from([None, 5, 100]),
    )
    def begin(self, rpm: int, tpm: int, concurrency: int | None) -> None:
        self.database.command("FLUSHALL")
        self.clock, self.real_ms, self.lives = START_MS, 0, 0
        self.limits = QuotaLimits(rpm, concurrency, tpm)
        self.store = QuotaStore(self.database)
        self.store.began_ms, self.store.epoch = START_MS, "e"
        self.flying: dict[str, list[Permit]] = {}
        self.freed: Counter[str] = Counter()
        self.corrections: list[Correction] = []
        self.seen: dict[str, tuple[int, int]] = {}
        self.drawn = 0
        self.used: list[Permit] = []
        self.stranded: list[Permit] = []
        self.returned: list[Permit] = []
        for _ in range(3):
            self.a_worker_begins()

    def a_worker_begins(self) -> str:
        self.lives += 1
        owner = f"w{self.lives}"
        self.flying[owner] = []
        self.ask(owner, [], 0)
        return owner

    def ask(self, owner: str, costs: list[int], ahead_ms: int) -> int:
        """Returns the wait."""
        self.database.now_ms = self.clock
        expected = ()
        if owner in self.seen:
            at_ms, clock = self.seen[owner]
            expected = (clock + self.real_ms - at_ms,)
        days = pacific.pacific_days(self.clock)
        asked = Asked(owner, tuple(costs), ahead_ms, days, expected, freed=self.freed.pop(owner, 0))
        granted = self.store.draw(["q"], [self.limits], asked, [self.corrections])
        self.corrections = []
        (clock,) = granted.clocks_ms
        self.seen[owner] = self.real_ms, clock
        for slot, tokens in zip(granted.slots_ms, costs, strict=False):
            permit = Permit(self.real_ms + slot, (clock + slot) // ring.BUCKET_MS, tokens)
            self.flying[owner].append(permit)
        self.drawn += len(granted.slots_ms)
        return granted.wait_ms

    @rule(ms=st.one_of(st.integers(0, 900), st.integers(0, 20_000)))
    def time_passes(self, ms: int) -> None:
        self.clock += ms
        self.real_ms += ms

    @rule(ms=st.sampled_from([-3_600_000, -700, 5_000, 3_600_000]))
    def the_clock_steps(self, ms: int) -> None:
        self.clock += ms
        self.ask(next(iter(self.flying)), [], 0)  # before one who began after the step, and cannot tell

    @rule(
        which=st.integers(0, 2),
        costs=st.lists(st.sampled_from([1, 30, 400]), max_size=60),
        ahead_ms=st.sampled_from([0, 1_000]),
    )
    def a_worker_draws(self, which: int, costs: list[int], ahead_ms: int) -> None:
        self.ask(list(self.flying)[which], costs, ahead_ms)

    @rule(which=st.integers(0, 2), times=st.integers(1, 8))
    def a_worker_draws_as_soon_as_it_may(self, which: int, times: int) -> None:
        for _ in range(times):
            wait_ms = self.ask(list(self.flying)[which], [1] * 60, 1_000)
            self.time_passes(min(wait_ms, ring.SPAN_MS))

    def one_of(self, which: int, number: int) -> tuple[str, Permit] | None:
        owner = list(self.flying)[which]
        mine = self.flying[owner]
        return (owner, mine.pop(number % len(mine))) if mine else None

    @rule(which=st.integers(0, 2), number=st.integers(0, 60), saved=st.integers(0, 40))
    def a_call_ends(self, which: int, number: int, saved: int) -> None:
        """Its real tokens are what was estimated, or fewer."""
        if found := self.one_of(which, number):
            owner, permit = found
            saved = min(saved, permit.tokens)
            permit.tokens -= saved
            self.freed[owner] += 1
            self.corrections.append(Correction(permit.bucket, 0, -saved))
            self.used.append(permit)

    @rule(which=st.integers(0, 2), number=st.integers(0, 60))
    def a_permit_is_not_used(self, which: int, number: int) -> None:
        if found := self.one_of(which, number):
            owner, permit = found
            self.freed[owner] += 1
            self.corrections.append(Correction(permit.bucket, -1, -permit.tokens))
            self.returned.append(permit)

    @rule(which=st.integers(0, 2))
    def a_worker_is_killed(self, which: int) -> None:
        owner = list(self.flying)[which]
        self.stranded += self.flying.pop(owner)
        self.freed.pop(owner, None)
        self.store.clear_owners("q", alive=list(self.flying))
        self.a_worker_begins()

    @rule(for_ms=st.sampled_from([300, 4_000]), kind=st.sampled_from(["hold", "capacity"]))
    def the_provider_refuses(self, for_ms: int, kind: str) -> None:
        self.database.now_ms = self.clock
        self.store.refuse("q", kind, for_ms, QuotaLimits())

    @rule(calls=st.sampled_from([1, 25]))
    def the_provider_is_away(self, calls: int) -> None:
        self.database.now_ms = self.clock
        for _ in range(calls):
            self.store.fail("q", 0, 20)

    @rule(on=st.booleans())
    def somebody_pauses_or_resumes(self, on: bool) -> None:
        (self.store.pause if on else self.store.resume)("q")

    @property
    def counted(self) -> list[Permit]:
        """Whatever was or may be used."""
        return [*self.used, *self.stranded, *(permit for mine in self.flying.values() for permit in mine)]

    @invariant()
    def every_permit_is_accounted_for(self) -> None:
        if not hasattr(self, "store"):
            return
        self.ask(next(iter(self.flying)), [], 0)  # what came back is told
        for owner in list(self.freed):
            self.ask(owner, [], 0)
        out = sum(map(len, self.flying.values()))
        assert self.drawn == len(self.used) + len(self.returned) + len(self.stranded) + out
        raw = {
            key.decode(): value
            for key, value in self.database.command("HGETALL", self.database.keys.quota("q")).items()
        }
        kept = [permit for permit in self.counted if permit.bucket >= int(raw["tail"])]
        assert int(raw["sum_r"]) == len(kept)
        assert int(raw["sum_t"]) == sum(permit.tokens for permit in kept)
        requests = Counter(permit.bucket for permit in kept)
        assert {
            int(key[1:]): int(n) for key, n in raw.items() if key[0] == "r" and key[1:].isdigit() and int(n)
        } == requests
        flying = self.database.command("HGETALL", self.database.keys.quota_slots("q"))
        assert {owner.decode(): int(n) for owner, n in flying.items()} == {
            owner: len(mine) for owner, mine in self.flying.items() if mine
        }

    @invariant()
    def never_over_in_any_rolling_minute(self) -> None:
        if not hasattr(self, "store"):
            return
        calls = sorted(self.counted, key=lambda permit: permit.at_ms)
        oldest = tokens = 0
        for newest, permit in enumerate(calls):
            tokens += permit.tokens
            while permit.at_ms - calls[oldest].at_ms >= ring.MINUTE_MS + SLACK_MS:
                tokens -= calls[oldest].tokens
                oldest += 1
            assert newest - oldest + 1 <= (self.limits.requests_per_minute or 0)
            assert tokens <= (self.limits.tokens_per_minute or 0)

    @invariant()
    def never_more_in_flight_than_allowed(self) -> None:
        most = getattr(self, "limits", QuotaLimits()).concurrency
        assert most is None or sum(map(len, self.flying.values())) <= most


@on_histories
def test_drawn_is_used_returned_and_stranded_and_no_minute_is_ever_over(
    database: Database, examples: int
) -> None:
    Books.database = database
    run_state_machine_as_test(Books, settings=histories(examples))


@given(
    of=st.sampled_from(["tokens", "requests"]),
    limit=st.sampled_from([1_000, 100_000]),
    rpm=st.sampled_from([None, 600]),
    small=st.sampled_from([2, 5, 10, 50]),
    larges=st.lists(st.sampled_from([15, 30, 45, 100, 500, 1_000]), min_size=1, max_size=2),
    others=st.integers(0, 5),
    beside=st.booleans(),
    seed=st.integers(0, 1_000),
)
def passed_over_by_nobody(
    of: str, limit: int, rpm: int | None, small: int, larges: list[int], others: int, beside: bool, seed: int
) -> None:
    """Large calls (in thousandths of a minute) wait among gates that ask for all that small ones can have, in any
    order: gates draw at times of their own. `beside`: one of those is in the same process."""
    tokens = of == "tokens"
    quota, now = Quota(), START_MS
    quota.configure(QuotaLimits(rpm, None, limit) if tokens else QuotaLimits(limit), 0)
    days, dice = pacific.pacific_days(now), Random(seed)
    small = limit * small // 1_000
    waiting = {f"w{n}": max(3 * small, limit * size // 1_000) for n, size in enumerate(larges)}
    gates = [("w0", "small")] * (beside or not others) + [(f"other{n}", "small") for n in range(others)]

    def draw(owner: str, gate: str, amounts: tuple[int, ...]) -> int:
        ones = (1,) * len(amounts)
        costs, sizes = (amounts, ones) if tokens else ((0,) * len(amounts), amounts)
        asked = Asked(owner, costs, 1_000, days, sizes=sizes, gate=gate)
        return len(permits.draw([quota], asked, now_ms=now, epoch="e").slots_ms)

    while now < START_MS + ring.SPAN_MS:  # a busy minute
        draw("other0", "small", (small,) * 20)
        now += 900
    began = now
    while waiting:
        assert now - began < 2 * ring.SPAN_MS * len(larges), f"{waiting} were passed over"
        turns = [*gates, *((owner, "large") for owner in waiting)]
        for owner, gate in dice.sample(turns, len(turns)):
            if gate == "small":
                draw(owner, gate, (small,) * 20)
            elif draw(owner, gate, (waiting[owner],)):
                del waiting[owner]
        now += dice.randrange(200, 1_000)


@on_histories
def test_no_waiter_is_passed_over_for_ever(examples: int) -> None:
    holds(4 * examples, passed_over_by_nobody)  # quick: on the model alone


@pytest.mark.parametrize("size", [1, 75])
def test_processes_whose_items_are_equally_large_take_turns(size: int) -> None:
    """A tenth of a minute each, of tokens or as a pack: none keeps the next slot for itself."""
    quota, now, days, dice = Quota(), START_MS, pacific.pacific_days(START_MS), Random(1)
    quota.configure(QuotaLimits(10 * size, None, 1_000), 0)
    got: Counter[str] = Counter()
    while now < START_MS + 6 * ring.SPAN_MS:
        for owner in dice.sample("abc", 3):
            asked = Asked(owner, (100,) * 10, 1_000, days, sizes=(size,) * 10)
            got[owner] += len(permits.draw([quota], asked, now_ms=now, epoch="e").slots_ms)
        now += dice.randrange(200, 700)
    assert got.total() >= 59
    assert min(got.values()) >= 10, got
