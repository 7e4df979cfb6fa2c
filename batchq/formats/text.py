"""Text: a line is an item."""

from __future__ import annotations

from collections.abc import Iterator

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats.items import ItemMaker
from batchq.formats.lines import Lines, Unreadable


def read_text(lines: Lines, maker: ItemMaker) -> Iterator[Item | Complaint]:
    """The line, without its ending, is the prompt or the template's {text}. Blank lines are no items."""
    if maker.id_field is not None:
        raise InputError("--id-field needs named fields, and lines of text have none: leave it out")
    if maker.template is not None:
        maker.template.check(("text",), "a line of text")
        if not maker.template.fields:
            raise InputError(
                "--prompt has no {text}: every line would ask the same. Put {text} where the line goes"
            )
    row = 0
    for number, line in enumerate(lines, 1):
        if isinstance(line, Unreadable):
            row += 1
            yield Complaint(f"line {number}", line.problem, row)
        elif not line.isspace():
            row += 1
            yield maker.of_text(line.rstrip("\r\n"), row, f"line {number}")
