"""make bench-quota ARGS="beside --rpm 600": one part with its options; without a part's name `runs`.

runs     how much of a quota a fleet uses, at many rates, latencies and numbers of workers
beside   the same work by plain Celery and by a loop of one's own
changes  a worker killed, one added, the quota raised and lowered while it runs
"""

from __future__ import annotations

import sys
from importlib import import_module

PARTS = ("runs", "beside", "changes")


def main() -> int:
    part, *arguments = sys.argv[1:] or ["all"]
    if part.startswith("-"):
        part, arguments = "runs", sys.argv[1:]
    if part not in (*PARTS, "all"):
        print(f"python -m bench.quota [{'|'.join(PARTS)}] [its options]; {part} is none", file=sys.stderr)
        return 2
    for name in PARTS if part == "all" else (part,):
        print(f"\n## {name}\n", flush=True)
        import_module(f"bench.quota.{name}").main(arguments)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, "bench")  # operations_under_test, by the name that the workers use
    sys.exit(main())
