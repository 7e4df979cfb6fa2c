"""make bench-quota ARGS="beside --rpm 600": one part with its options; without a part's name `runs`.

runs     how much of a quota a fleet uses, at many rates, latencies and numbers of workers
beside   the same work by plain Celery and by a loop of one's own
changes  a worker killed, one added, the quota raised and lowered while it runs
"""

from __future__ import annotations

import sys

from bench import parts

PARTS = ("runs", "beside", "changes")

if __name__ == "__main__":
    sys.exit(parts.run("bench.quota", PARTS, without_name="runs"))
