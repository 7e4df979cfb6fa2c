"""What trouble with a provider leaves behind: a slower pace that recovers by itself, and a breaker.

Refusals lower the pace by a share, and it grows back a little every second. Want of capacity several times in a row,
or failures that outweigh the answers by `outage_row`, open the breaker: nothing goes for a while, then one call at a
time asks whether the provider is there again. The first answer closes it, at half of the former pace: not from the
bottom.
"""

from __future__ import annotations

from dataclasses import dataclass

LOWEST_RPM = 6
RECOVERY_SHARE = 50  # after refusals the pace grows by 1/50 of the former a second
BREAKER_ROW = 3  # decreases for want of capacity in a row that open the breaker
LONGEST_CAPACITY_HOLD_MS = 60_000
LONGEST_ROW = 20  # by so many 5xx and broken connections at most outweigh the answers when the breaker opens
FIRST_OUTAGE_HOLD_MS = 1_000  # doubled each time the probe fails
LONGEST_OUTAGE_HOLD_MS = 30_000
PATIENCE_MS = 600_000  # of an outage, in which probes that fail are charged to nobody
PROBE_MS = 30_000  # a probe nobody has heard of for so long was lost


def outage_row(in_flight: int, max_attempts: int) -> int:
    """By how much failures outweigh the answers when the breaker opens, where so many items may be in flight.

    Each of them fails once or twice until then, so none runs out of attempts; one item alone, which may be to blame
    itself, runs out of them before.
    """
    return min(LONGEST_ROW, max(max_attempts + 1, in_flight))


@dataclass(slots=True)
class Slowdown:
    """Times are those of the quota's own clock."""

    cap: int = 0  # requests a minute; 0: none
    top: int = 0  # before the first refusal
    recovered_ms: int = 0  # when the cap last grew
    decreased_ms: int = 0
    row: int = 0  # the breaker's: BREAKER_ROW and more is open
    failing: int = 0  # failures by which the last calls outweigh the answers
    opened_ms: int = 0  # when failures last opened the breaker
    probe_for: str = ""  # who has the one call that asks
    probe_until_ms: int = 0

    @property
    def is_open(self) -> bool:
        return self.row >= BREAKER_ROW

    def recover(self, clock: int, limit: int | None) -> None:
        steps = (clock - self.recovered_ms) // 1000
        if not self.cap or steps <= 0:
            return
        self.cap += steps * max(1, self.top // RECOVERY_SHARE)
        self.recovered_ms += steps * 1000
        if self.cap >= (limit or 2 * self.top):
            self.cap = self.top = 0

    def wait_until(self, clock: int) -> None:
        """It recovers once the quota is open again."""
        if self.cap:
            self.recovered_ms = max(self.recovered_ms, clock)

    # -- refusals for rate ----------------------------------------------------------------------------------

    def decrease(self, clock: int, pace: int, kind: str) -> None:
        """A refusal that named no new limit. Those of one moment are one."""
        if clock - self.decreased_ms < 1000:
            return
        current = self.cap or pace
        self.top = self.top or current
        self.cap = max(LOWEST_RPM, self.top // 100, current * (7 if kind == "capacity" else 9) // 10)
        self.decreased_ms = clock
        if kind == "capacity":
            self.row += 1

    def capacity_hold_ms(self) -> int:
        return min(LONGEST_CAPACITY_HOLD_MS, 500 << min(self.row, 10))

    # -- outages --------------------------------------------------------------------------------------------

    def fail(self, clock: int, pace: int, row: int) -> bool:
        """A call got no answer. True: the breaker is open with it."""
        if not self.is_open:
            self.failing += 1
            if self.failing < row:
                return False
            self.opened_ms = clock
            self.top = self.top or self.cap or pace
            self.cap = max(LOWEST_RPM, self.top // 2)
        self.row = max(self.row + 1, BREAKER_ROW)
        self.failing, self.probe_for = 0, ""
        return True

    def outlasts_patience(self, clock: int) -> bool:
        return clock - self.opened_ms > PATIENCE_MS

    def outage_hold_ms(self) -> int:
        return min(LONGEST_OUTAGE_HOLD_MS, FIRST_OUTAGE_HOLD_MS << min(self.row - BREAKER_ROW, 10))

    # -- answers --------------------------------------------------------------------------------------------

    def answered(self, calls: int, *, held: bool) -> None:
        """So many calls were answered. While the quota is held these are calls that began before: no probe."""
        self.failing = max(0, self.failing - calls)
        if held or not calls:
            return
        if self.is_open:
            self.cap = max(self.cap, self.top // 2)
        self.row, self.probe_for = 0, ""

    def probe_goes(self, owner: str, clock: int) -> None:
        if self.is_open:
            self.probe_for, self.probe_until_ms = owner, clock + PROBE_MS

    def probe_ended(self, owner: str) -> None:
        """A call of the prober's ended, answered or not: it may have been the probe."""
        if self.probe_for == owner:
            self.probe_for = ""

    def is_probed(self, clock: int) -> bool:
        return self.is_open and self.probe_for != "" and self.probe_until_ms > clock
