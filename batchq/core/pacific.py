"""Days as Gemini counts them: daily quotas reset at Pacific midnight."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")
DAY_MS = 86_400_000
NO_DAY_MS = 1 << 52  # the end of a day whose end is not known

Days = tuple[int, int, int]


def pacific_days(now_ms: int) -> Days:
    """The Pacific midnights before now, after it, and the one after that, in Unix ms."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(PACIFIC).date()
    first, second, third = (
        int(datetime.combine(today + timedelta(days=n), datetime.min.time(), PACIFIC).timestamp() * 1000)
        for n in range(3)
    )
    return first, second, third


def local_ms() -> int:
    """This machine's clock, Unix ms: near enough to tell one day from the next."""
    return int(time.time() * 1000)


def until_pacific_midnight_ms(now_ms: int) -> int:
    return max(0, pacific_days(now_ms)[1] - now_ms)
