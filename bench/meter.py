"""What a piece of work costs: processor time of each process, the server's commands, wall time."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from batchq.store.database import Database


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run. `cpu_s` by part (worker, server, submitter …)."""

    items: int
    wall_s: float
    cpu_s: Mapping[str, float]
    commands: int  # those inside scripts too

    def figures(self) -> dict[str, float]:
        """An item's share, by name."""
        each = {f"{part} CPU, ms": 1000 * seconds / self.items for part, seconds in self.cpu_s.items()}
        return {
            "CPU of all, ms an item": sum(each.values()),
            **each,
            "items a second": self.items / self.wall_s,
            "Redis commands an item": self.commands / self.items,
        }


class Meter:
    """Reads the processes named and the server at `redis_url`."""

    def __init__(self, redis_url: str, processes: Mapping[str, Sequence[int]]) -> None:
        self._database = Database(redis_url)
        self._processes = processes

    def measure(self, items: int, work: Callable[[], object]) -> Cost:
        commands, cpu, began = self._commands(), self._cpu(), time.perf_counter()
        work()
        wall = time.perf_counter() - began
        spent = {part: seconds - cpu[part] for part, seconds in self._cpu().items()}
        return Cost(items, wall, spent, self._commands() - commands)

    def _commands(self) -> int:
        return int(self._database.command("INFO", "stats")["total_commands_processed"])

    def _cpu(self) -> dict[str, float]:
        return {part: sum(map(cpu_s, pids)) for part, pids in self._processes.items()}


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def peak_mb(pid: int) -> float:
    """The most memory a living process has had resident."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def compared(runs: Mapping[str, Sequence[Cost]]) -> str:
    """A table: the median and spread of each figure for every contestant, and the first's ratio to the others."""
    tables = {name: [cost.figures() for cost in costs] for name, costs in runs.items()}
    first, *others = tables
    rows = [["", *tables, *(f"{first} ÷ {other}" for other in others)]]
    for figure in tables[first][0]:
        medians = {}
        row = [figure]
        for name, figures in tables.items():
            values = [one[figure] for one in figures if figure in one]
            medians[name] = statistics.median(values) if values else 0.0
            row.append(f"{medians[name]:.3g} ({min(values):.3g} to {max(values):.3g})" if values else "")
        row += [f"{medians[first] / medians[name]:.2f}" if medians[name] else "" for name in others]
        rows.append(row)
    return markdown(rows)


def markdown(rows: Sequence[Sequence[object]]) -> str:
    """A table whose first row is the header."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines.insert(1, "| --- " * len(rows[0]) + "|")
    return "\n".join(lines)
