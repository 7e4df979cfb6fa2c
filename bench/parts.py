"""The parts of a benchmark, each a module with a `main(arguments)`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module


def run(package: str, parts: Sequence[str], *, without_name: str | None = None) -> int:
    """Run the part that the command line names with its options, or all of them. `without_name` is the part that
    options without a name are for. The exit code."""
    chosen, *arguments = sys.argv[1:] or ["all"]
    if without_name is not None and chosen.startswith("-"):
        chosen, arguments = without_name, sys.argv[1:]
    if chosen not in (*parts, "all"):
        print(f"python -m {package} [{'|'.join(parts)}] [its options]; {chosen} is none", file=sys.stderr)
        return 2
    sys.path.insert(0, "bench")  # operations_under_test and plain_celery, by the names that the workers use
    for name in parts if chosen == "all" else (chosen,):
        print(f"\n## {name}\n", flush=True)
        import_module(f"{package}.{name}").main(arguments)
    return 0
