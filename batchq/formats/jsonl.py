"""JSON lines: Gemini Batch input, OpenAI's and batchq's own, one reader, since a line may bring either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchq.core.records import ErrorInfo, Item
from batchq.errors import Complaint, InputError
from batchq.formats import openai
from batchq.formats.items import MAX_TEXT_BYTES, BadRow, ItemMaker, Misfit, too_large
from batchq.formats.lines import Lines, Unreadable
from batchq.formats.strict_json import NotStrict, parse
from batchq.formats.words import meant, shown


def read_jsonl(lines: Lines, maker: ItemMaker, form: str) -> Iterator[Item | Complaint]:
    """An item a line. `form`: `gemini` lines must hold a `request`, `openai` ones a `body`."""
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
            if form == "gemini" and "request" not in fields:
                raise BadRow('no request: a Gemini Batch line is {"key": …, "request": {…}}')
            if form == "openai":
                made = _of_openai(maker, fields, row, place, len(line))
            else:
                made = maker.of_fields(fields, row, place, len(line))
        except (NotStrict, BadRow) as exc:
            if row == 1 and isinstance(exc, Misfit):  # or --skip-bad would skip every row there is
                raise InputError(f"{place}: {exc}") from None
            made = Complaint(place, str(exc), row)
        yield made


def _of_openai(maker: ItemMaker, fields: Mapping[str, Any], row: int, place: str, size: int) -> Item:
    """An item of an OpenAI Batch line, `size` characters long. Raises BadRow."""
    if "body" not in fields:
        raise BadRow('no body: an OpenAI Batch line is {"custom_id": …, "url": …, "body": {…}}')
    item_id = maker.id_of(fields, row)
    for key in fields:
        if key not in openai.LINE_KEYS and key != maker.id_field:
            message = f"{shown(key)} is not a field of an OpenAI Batch line{meant(key, openai.LINE_KEYS)}"
            return Item(item_id, {}, None, ErrorInfo(0, "UNKNOWN_FIELD", message), place)
    try:
        operation, input = openai.item_of(fields)
    except openai.Unmapped as exc:
        return Item(item_id, {}, None, exc.problem, place)
    problem = too_large(input.get("request", input)) if size > MAX_TEXT_BYTES // 4 else None
    return Item(item_id, {} if problem else input, operation, problem, place)
