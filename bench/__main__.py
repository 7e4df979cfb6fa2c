"""make bench ARGS="overhead --runs 3": one benchmark with its options; without arguments all but the longest."""

from __future__ import annotations

import sys

from bench import parts

ALL = ("start", "overhead", "gemini", "embed", "images", "jobs", "sweep", "size", "acks")

if __name__ == "__main__":
    sys.exit(parts.run("bench", ALL))
