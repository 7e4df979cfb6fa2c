# /// script
# dependencies = ["pyte>=0.8", "rich>=15"]
# ///
"""Draws what a command shows on a terminal, as an SVG: run for real, in a terminal of its own.

uv run tools/picture.py OUT.svg [--prompt TEXT] [--at TEXT] -- COMMAND …

`--at` also draws the first moment that the text is on the screen, as OUT-running.svg.
"""

from __future__ import annotations

import os
import pty
import sys
import time
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 124, 56


def run(command: list[str], at: str | None) -> tuple[list[Text], list[Text] | None]:
    """The screen at the end, and at the first moment that its text contains `at`."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
        os.execvp(command[0], command)
    moment = None
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        stream.feed(data)
        if at is not None and moment is None and any(at in line for line in screen.display):
            moment = lines_of(screen)
        time.sleep(0.01)
    os.waitpid(pid, 0)
    return lines_of(screen), moment


def lines_of(screen: pyte.Screen) -> list[Text]:
    lines = []
    for row in range(ROWS):
        line = Text()
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            line.append(cell.data, style_of(cell))
        line.rstrip()
        lines.append(without_home(line))
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def without_home(line: Text) -> Text:
    """The same line with the home folder of whoever draws as `~`."""
    home = os.environ.get("PICTURE_HOME", str(Path.home()))
    at = line.plain.find(home)
    return line if at < 0 else without_home(line[:at] + Text("~") + line[at + len(home) :])


def style_of(cell: pyte.screens.Char) -> str:
    color = {"default": "", "brown": "yellow"}.get(cell.fg, cell.fg)
    if len(color) == 6 and all(letter in "0123456789abcdef" for letter in color):
        color = f"#{color}"
    return " ".join(filter(None, ("bold" if cell.bold else "", color)))


def draw(lines: list[Text], prompt: str, out: Path) -> None:
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"), force_terminal=True)
    for line in prompt.splitlines():
        console.print(Text(line, style="bold"))
    for line in lines:
        console.print(line)
    console.save_svg(str(out), title="batchq")


def main() -> None:
    split = sys.argv.index("--")
    own, command = sys.argv[1:split], sys.argv[split + 1 :]
    out = Path(own[0])
    at = own[own.index("--at") + 1] if "--at" in own else None
    prompt = own[own.index("--prompt") + 1] if "--prompt" in own else "$ " + " ".join(command)
    end, moment = run(command, at)
    draw(end, prompt, out)
    if moment is not None:
        draw(moment, prompt, out.with_name(out.stem + "-running.svg"))


main()
