"""What this process threw away of its queues, for who watches the fleet."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable


class Drops:
    """Messages dropped by this process since they were last reported, by what was wrong with them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def report(self, to: Callable[[Counter[str]], None]) -> None:
        """Hand the counts on; they are kept when that fails."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        if not taken:
            return
        try:
            to(taken)
        except BaseException:
            with self._lock:
                self._counts += taken
            raise


drops = Drops()
