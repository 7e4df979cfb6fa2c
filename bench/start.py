"""How long the command takes to say something: `batchq --help` as a multiple of an empty Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.meter import markdown
from bench.stage import COMMAND

LINES = {
    "python -c pass": ["-c", "pass"],
    "batchq --help": ["-c", COMMAND, "--help"],
    "batchq run --help": ["-c", COMMAND, "run", "--help"],
    "python -c 'import celery, redis'": ["-c", "import celery, redis"],
    "python -c 'from google import genai'": ["-c", "from google import genai"],
}
RUNS = 15


def main(_arguments: list[str]) -> None:
    took: dict[str, list[float]] = {name: [] for name in LINES}
    for _ in range(RUNS):
        for name, line in LINES.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *line], check=True, capture_output=True)
            took[name].append(time.perf_counter() - began)
    empty = statistics.median(took["python -c pass"])
    rows = [["line", f"median of {RUNS}, ms", "× an empty Python"]]
    rows += [
        [name, f"{1000 * statistics.median(times):.0f}", f"{statistics.median(times) / empty:.1f}"]
        for name, times in took.items()
    ]
    print(markdown(rows))
