"""What make says to a newcomer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("goal", "says"), [("setup", True), ("lint", False)])
def test_setup_ends_with_what_to_do_next_where_it_was_asked_for(goal: str, says: bool) -> None:
    """And not where another target has it done first. Only shown, not run: it would install."""
    shown = subprocess.run(["make", "-n", goal], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ("Next: `make run` or `.venv/bin/batchq --help`" in shown.stdout) is says
