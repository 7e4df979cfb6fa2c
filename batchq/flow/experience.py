"""What is learnt from the calls of an operation with a model: how long they take, what their tokens come to."""

from __future__ import annotations

import contextlib
import threading
import time

from batchq.core import tokens
from batchq.errors import BatchqError
from batchq.store.quotas import QuotaStore

LATENCY_WEIGHT = 0.1  # of the newest call in the usual latency
SHARE_S = 5.0  # between two exchanges of samples with the fleet, while there are calls


class Experience:
    """The latency is this process's own. Tokens are learnt by the whole fleet: a new worker knows at once what the
    others know, and children of prefork, which make few calls each, learn together."""

    def __init__(self, operation: str, model: str | None, store: QuotaStore) -> None:
        self.latency_s: float | None = None  # None: nothing yet
        self._name = f"{operation}:{model or ''}"
        self._store = store
        self._ratio = tokens.Ratio()
        self._sharing = threading.Lock()
        self._share_at = 0.0  # monotonic

    def note(self, latency_s: float) -> None:
        before = self.latency_s
        self.latency_s = latency_s if before is None else before + LATENCY_WEIGHT * (latency_s - before)

    def estimate(self, raw: int) -> tokens.Estimate:
        self._share()
        return self._ratio.estimate(raw)

    def learn(self, raw: int, real: int) -> None:
        self._ratio.learn(raw, real)
        self._share()

    def _share(self) -> None:
        """One thread at a time; where the store does not answer, what this process knows will do."""
        if time.monotonic() < self._share_at or not self._sharing.acquire(blocking=False):
            return
        try:
            self._share_at = time.monotonic() + SHARE_S
            with contextlib.suppress(BatchqError):
                self._ratio.adopt(
                    self._store.share_ratios(self._name, self._ratio.take_news(), tokens.SAMPLES)
                )
        finally:
            self._sharing.release()
