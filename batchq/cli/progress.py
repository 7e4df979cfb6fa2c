"""Live progress on stderr: a bar on a terminal; elsewhere a line at once, then each 10 % or 30 s."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from batchq.cli import say
from batchq.core.summary import facts, progress_line

if TYPE_CHECKING:
    from batchq.core.job import JobRecord

STEP = 10  # per cent between two plain lines
PAUSE_S = 30.0  # at most between them


class Progress(Protocol):
    """Shows records as they come. `note` prints a message without spoiling what is shown."""

    def show(self, record: JobRecord) -> None: ...
    def note(self, text: str) -> None: ...
    def __enter__(self) -> Progress: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress() -> Progress:
    """The one that fits stderr."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _Bar()
    return _Lines()


class _Lines:
    def __init__(self) -> None:
        self._step = -1
        self._shown = time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, record: JobRecord) -> None:
        step = record.settled * 100 // record.total // STEP if record.total else 0
        now = time.monotonic()
        if step != self._step or now - self._shown >= PAUSE_S:
            self._step, self._shown = step, now
            self.note(progress_line(record))

    def note(self, text: str) -> None:
        say.note(text)


class _Bar:
    """Two lines: the bar with its counts, and the facts below it, cut to the terminal's width."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, refresh_per_second=4)

    def __enter__(self) -> _Bar:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, record: JobRecord) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        share = 100 * record.settled // record.total if record.total else 100
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            ProgressBar(total=max(1, record.total), completed=record.settled, width=30),
            Text(f"{share:3} %"),
            Text(f"{record.settled:,} of {record.total:,}"),
        )
        below = Text("  ".join(facts(record)), style="dim", no_wrap=True, overflow="ellipsis")
        self._live.update(Group(grid, below))

    def note(self, text: str) -> None:
        from rich.text import Text

        from batchq.core.wording import lines

        self._console.print(Text(lines(text)))
