"""JSON lines: Gemini Batch input and batchq's own, one reader, since a line may bring either."""

from __future__ import annotations

from collections.abc import Iterator

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats.items import BadRow, ItemMaker, Misfit
from batchq.formats.lines import Lines, Unreadable
from batchq.formats.strict_json import NotStrict, parse


def read_jsonl(lines: Lines, maker: ItemMaker, *, gemini: bool) -> Iterator[Item | Complaint]:
    """An item a line. `gemini`: each line must hold a `request`."""
    row = 0
    for number, line in enumerate(lines, 1):
        if isinstance(line, Unreadable):
            row += 1
            yield Complaint(f"line {number}", line.problem, row)
            continue
        if line.isspace():
            continue
        row += 1
        place = f"line {number}"
        made: Item | Complaint
        try:
            fields = parse(line)
            if not isinstance(fields, dict):
                raise BadRow("not a JSON object: each line is one {…}")
            if gemini and "request" not in fields:
                raise BadRow('no request: a Gemini Batch line is {"key": …, "request": {…}}')
            made = maker.of_fields(fields, row, place, len(line))
        except (NotStrict, BadRow) as exc:
            if row == 1 and isinstance(exc, Misfit):  # or --skip-bad would skip every row there is
                raise InputError(f"{place}: {exc}") from None
            made = Complaint(place, str(exc), row)
        yield made
