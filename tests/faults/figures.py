"""What the cases measured: kept by case in figures.json, shown by row in docs/reliability.md.

A run replaces the figures of the cases that it ran and leaves the others.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

KEPT = Path(__file__).with_name("figures.json")
BEGIN, END = "<!-- the table is written by make test-faults -->", "<!-- end of the table -->"
HEAD = (
    "| row | fault | pools | cases | items | lost | settled twice | calls repeated / in flight | longest recovery |",
    "| --- | --- | --- | --: | --: | --: | --: | --: | --: |",
)


@dataclass(frozen=True, slots=True)
class Figures:
    """One case. `recovery_s`: from the crash until nothing was leased to the dead any more; None: nobody died."""

    row: str  # of the matrix: F3
    variant: str
    pool: str
    seed: int
    items: int
    lost: int
    twice: int
    repeated: int  # calls that the provider saw again without an error before
    in_flight: int  # calls under way at the crashes
    recovery_s: float | None = None

    @property
    def case(self) -> str:
        return f"{self.row} {self.variant} [{self.pool}]"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Table:
    """Gathers the figures of a run (in the controller, where several processes run the tests) and writes the page."""

    def __init__(self, page: Path, kept: Path = KEPT) -> None:
        self._page, self._kept = page, kept
        self._new: dict[str, Figures] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # figures are there from the fixture's end on, and of cases that passed alone
        if report.when != "teardown" or not report.passed:
            return
        for name, value in report.user_properties:
            if name == "figures":
                figures = Figures(**value)
                self._new[figures.case] = figures

    def pytest_sessionfinish(self) -> None:
        if not self._new:
            return
        every = {**read(self._kept), **self._new}
        lines = [json.dumps(every[case].as_json()) for case in sorted(every, key=_place)]
        self._kept.write_text("\n".join(lines) + "\n")
        self._page.write_text(with_table(self._page.read_text(), every.values()))


def read(kept: Path) -> dict[str, Figures]:
    if not kept.exists():
        return {}
    known = (Figures(**json.loads(line)) for line in kept.read_text().splitlines())
    return {figures.case: figures for figures in known}


def with_table(page: str, every: Iterable[Figures]) -> str:
    """The page with its table written anew; the prose around it stays."""
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    return "\n".join([head + BEGIN, *HEAD, *_lines(every), END + tail])


def _lines(every: Iterable[Figures]) -> list[str]:
    groups: dict[tuple[str, str], list[Figures]] = defaultdict(list)
    for one in sorted(every, key=lambda one: (_place(one.case), one.pool)):
        groups[one.row, one.variant].append(one)
    lines = []
    for (row, variant), cases in groups.items():
        recoveries = [one.recovery_s for one in cases if one.recovery_s is not None]
        cells = [
            row,
            variant,
            ", ".join(sorted({one.pool for one in cases})),
            len(cases),
            sum(one.items for one in cases),
            sum(one.lost for one in cases),
            sum(one.twice for one in cases),
            f"{sum(one.repeated for one in cases)} / {sum(one.in_flight for one in cases)}",
            f"{max(recoveries):.1f} s" if recoveries else "–",
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return lines


def _place(case: str) -> tuple[int, str]:
    """Rows in the order of the matrix; what is no row (chaos) after them."""
    row = case.split()[0]
    return (int(row[1:]) if row[1:].isdigit() else 999, case)
