"""What one process knows of its quotas: which are held, how many tasks wait for each, how each stands."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterable

from batchq.errors import BatchqError
from batchq.flow.caches import Timed
from batchq.store.quotas import QuotaStore, QuotaView

LONG_S = 1.0
SEEN_S = 60.0  # for so long a process keeps slots free for a gate that had work
VIEW_S = 0.5  # age of what a process knows of a quota
ROOM_S = 1.0  # age of what it knows of a quota's window, which takes reading the whole account
PAUSED_MS = 1_000  # a pause by hand has no end: look again after this


class Holds:
    """Shared by the gates of a process, so that a refusal seen by one is known to all at once."""

    def __init__(self, store: QuotaStore, slots: int) -> None:
        self._store, self._slots = store, slots
        self._seen: dict[str, float] = {}  # monotonic; of each gate that work came for
        self._until: dict[str, tuple[float, str]] = {}  # monotonic, why
        self._waiting: Counter[str] = Counter()
        self._views: dict[str, tuple[float, QuotaView]] = {}
        self._rooms: dict[str, Timed[int]] = {}
        self._lock = threading.Lock()

    # -- a quota that waits never blocks another quota's work -----------------------------------------------

    def enter(self, place: str) -> bool:
        """Take a place among those who wait. False: too many do, the slot is for others.

        Half of the slots where several gates have work. One alone may have them all: its window is small where
        it is slow, and where it is fast a slot comes free soon, by which others are noticed.
        """
        now = time.monotonic()
        with self._lock:
            self._seen[place] = now
            if len(self._seen) > 1:
                self._seen = {one: at for one, at in self._seen.items() if now - at < SEEN_S}
            most = self._slots if len(self._seen) == 1 else self._slots // 2
            if self._waiting[place] >= max(1, most):
                return False
            self._waiting[place] += 1
            return True

    def leave(self, place: str) -> None:
        with self._lock:
            self._waiting[place] -= 1
            if not self._waiting[place]:
                del self._waiting[place]

    # -- holds ----------------------------------------------------------------------------------------------

    def learn(self, quota: str, for_ms: int, why: str) -> None:
        """A draw or a refusal said that nothing goes for so long."""
        if for_ms > 0:
            self._until[quota] = (time.monotonic() + for_ms / 1000, why)

    def held(self, quotas: Iterable[str]) -> tuple[int, str]:
        """How long nothing may go, and why: of the quota held longest, as far as this process has heard.

        Long holds are looked up again: somebody may have lifted them.
        """
        longest, reason = 0.0, ""
        if not self._until:
            return 0, reason
        for quota in quotas:
            known = self._until.get(quota)
            if known is not None and known[0] - time.monotonic() > LONG_S:
                with contextlib.suppress(BatchqError):
                    self.view(quota)
                known = self._until.get(quota)
            now = time.monotonic()
            if known is None:
                continue
            if known[0] <= now:
                self._until.pop(quota, None)
            elif known[0] - now > longest:
                longest, reason = known[0] - now, known[1]
        return int(longest * 1000), reason

    # -- the fleet's view -----------------------------------------------------------------------------------

    def view(self, quota: str) -> QuotaView:
        """How the quota stands in the store, at most VIEW_S old. A hold lifted by hand is forgotten here too."""
        known, now = self._views.get(quota), time.monotonic()
        if known is not None and now - known[0] <= VIEW_S:
            return known[1]
        view = self._store.view(quota)
        self._views[quota] = (now, view)
        held_ms = PAUSED_MS if view.paused else view.held_ms
        if held_ms:
            self.learn(quota, held_ms, view.why)
        else:
            self._until.pop(quota, None)
        return view

    def room_ms(self, quota: str) -> int:
        """How long until the quota's window has room again, where that is long; at most ROOM_S old."""
        return self._rooms.setdefault(
            quota, Timed(ROOM_S, lambda: self._store.view(quota, live=True).room_ms)
        ).get()

    def forget(self, quota: str) -> None:
        self._rooms.pop(quota, None)
        self._until.pop(quota, None)
        self._views.pop(quota, None)
