"""make bench ARGS="overhead --runs 3": one benchmark with its options; without arguments all but the longest."""

from __future__ import annotations

import sys
from importlib import import_module

ALL = ("start", "overhead", "gemini", "embed", "images", "jobs", "sweep", "size", "acks")


def main() -> int:
    chosen, *arguments = sys.argv[1:] or ["all"]
    if chosen not in (*ALL, "all"):
        print(f"python -m bench [{'|'.join(ALL)}] [its options]; {chosen} is none of them", file=sys.stderr)
        return 2
    for name in ALL if chosen == "all" else (chosen,):
        print(f"\n## {name}\n", flush=True)
        import_module(f"bench.{name}").main(arguments)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, "bench")  # operations_under_test and plain_celery, by the names that the workers use
    sys.exit(main())
