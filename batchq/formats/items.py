"""One row of any list → one Item.

Two kinds of trouble. What breaks the list (a bad id, a row that is no item) is `BadRow`: the readers turn it
into a Complaint. What is wrong with one item only (an empty prompt, a wrong type) is kept in `Item.problem`:
the item is stored as failed, and the others go on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchq.core.records import ErrorInfo, Item
from batchq.errors import Complaint, InputError
from batchq.formats.places import Folder
from batchq.formats.strict_json import MAX_DEPTH, depth
from batchq.formats.template import Template
from batchq.formats.words import listed, meant, nearest, shown

MAX_TEXT_BYTES = 4_000_000  # UTF-8, all texts of an item together
MAX_INLINE_BYTES = 28_000_000  # base64 of a 20 MB file inside a request
MAX_ID_BYTES = 512

ID_KEYS = ("id", "key", "custom_id")
INPUT_KEYS = ("request", "prompt", "messages", "text", "file", "input")
KNOWN_KEYS = frozenset((*ID_KEYS, *INPUT_KEYS, "operation"))
_TOGETHER = (["prompt", "text"], ["prompt", "file"])  # a prompt about it; in the order of INPUT_KEYS
ROLES = frozenset({"system", "user", "assistant"})

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class BadRow(ValueError):
    """The row cannot become an item; says why and what to do."""


class Misfit(BadRow):
    """The row lacks a field that --prompt or --id-field names. In the first row it is the option that is wrong."""


def item_from(
    raw: Mapping[str, Any] | str | tuple[str, str] | Item,
    row: int,
    template: Template | None = None,
    *,
    id_field: str | None = None,
    folder: Folder | None = None,
) -> Item:
    """An Item of what a Python caller gives: an Item, a batchq line as a mapping, (id, prompt), or a prompt.

    `row` counts the caller's items from 1 and is the id of those that bring none. `folder` is what relative
    files are relative to, None: the working folder. Raises InputError with one Complaint for a row that
    cannot become an item, among them values that are no JSON; what is wrong with the item alone is in
    `.problem`.
    """
    place = f"item {row}"
    maker = ItemMaker(template, id_field, folder or Folder.working())
    try:
        if isinstance(raw, Item):
            size = _json_size(raw.input)
            return maker.checked(raw, place, size)
        if isinstance(raw, str):
            _json_size(raw)
            return maker.of_text(raw, row, place)
        if isinstance(raw, tuple) and len(raw) == 2:
            _json_size(raw[1])
            return maker.of_text(raw[1], row, place, id=raw[0])
        if isinstance(raw, Mapping):
            return maker.of_fields(raw, row, place, _json_size(raw))
        raise BadRow(
            f"a {type(raw).__name__} is no item: give an Item, a dict, an (id, prompt) tuple or a prompt"
        )
    except BadRow as exc:
        raise InputError("this item cannot be submitted:", [Complaint(place, str(exc), row)]) from None


def row_id(row: int) -> str:
    """The id of an item that brings none: its row, 8 digits."""
    return f"{row:08d}"


@dataclass(frozen=True, slots=True)
class ItemMaker:
    """What all rows of one list have in common."""

    template: Template | None
    id_field: str | None  # None: the first of ID_KEYS that the row has
    folder: Folder  # where the list stands: relative files are relative to it

    def of_fields(self, fields: Mapping[str, Any], row: int, place: str, size: int) -> Item:
        """An item of a JSON object: a row for the template where it has its fields, else a line of its own.

        `size` is that of the object's text, in characters: short ones cannot be too large.
        """
        item_id = self.id_of(fields, row)
        template = self.template
        if template is not None and template.fields and template.fields <= fields.keys():
            return self._of_row(item_id, fields, template, place, size)
        operation = fields.get("operation")
        input, problem = self._own_input(fields)
        if problem is None and operation is not None and (not isinstance(operation, str) or not operation):
            operation, problem = None, wrong_type("operation", "the name of an operation", operation)
        if problem is None and size > MAX_TEXT_BYTES // 4:  # a character is at most 4 bytes
            problem = too_large(input)
        if problem is not None and problem.status == "TOO_LARGE":
            input = {}  # it would be stored for nothing
        return Item(item_id, input, operation if isinstance(operation, str) else None, problem, place)

    def of_columns(self, fields: Mapping[str, str], row: int, place: str) -> Item:
        """An item of a table's row: through the template, else its prompt, text and file columns."""
        item_id = self.id_of(fields, row)
        size = sum(map(len, fields.values()))
        if self.template is not None:
            return self._of_row(item_id, fields, self.template, place, size)
        column = "prompt" if "prompt" in fields else "text" if "text" in fields else None
        input: dict[str, Any] = {column: fields[column]} if column else {}
        problem = None
        if fields.get("file"):
            input["file"], problem = self.folder.find(fields["file"])
            if column and not fields[column].strip():
                del input[column]
        elif not column:
            problem = ErrorInfo(0, "FILE_UNREADABLE", "the file column is empty: name a file")
        elif not fields[column].strip():
            problem = empty_prompt(f"the {column} column is empty")
        if problem is None and size > MAX_TEXT_BYTES // 4:
            problem = too_large(input)
        return Item(item_id, {} if _oversized(problem) else input, None, problem, place)

    def of_text(self, text: Any, row: int, place: str, *, id: Any = None) -> Item:
        """An item of a line of text, or of a prompt that Python gave (with its id: None means the row)."""
        item_id = row_id(row) if id is None else checked_id(id, "id")
        if not isinstance(text, str):
            return Item(item_id, {}, None, wrong_type("prompt", "a text", text), place)
        if self.template is not None:
            self.template.check(("text",), "a line of text")
            if not self.template.fields:
                raise BadRow(
                    "--prompt has no {text}: every line would ask the same. Put {text} where it goes"
                )
            text = self.template.render({"text": text}) if text.strip() else text
        problem = None if text.strip() else empty_prompt("the prompt is empty")
        input = {"prompt": text}
        if problem is None and len(text) > MAX_TEXT_BYTES // 4:
            problem = too_large(input)
        return Item(item_id, {} if _oversized(problem) else input, None, problem, place)

    def checked(self, item: Item, place: str, size: int) -> Item:
        """An Item that a Python caller made, with the checks that every other form gets."""
        item_id = checked_id(item.id, "id")
        input, problem = dict(item.input), item.problem
        if "file" in input and problem is None:
            input["file"], problem = self.folder.file_of(input["file"])
        if problem is None and size > MAX_TEXT_BYTES // 4:
            problem = too_large(input)
        return Item(
            item_id, {} if _oversized(problem) else input, item.operation, problem, item.place or place
        )

    def id_of(self, fields: Mapping[str, Any], row: int) -> str:
        """The row's id, as the fields or the row's number give it. Raises BadRow."""
        if self.id_field is not None:
            if self.id_field not in fields:
                raise Misfit(
                    f"no field {shown(self.id_field)}, which --id-field names"
                    f"{meant(self.id_field, fields.keys())} It has: {listed(fields.keys())}"
                )
            return checked_id(fields[self.id_field], self.id_field)
        for key in ID_KEYS:
            if key in fields:
                return checked_id(fields[key], key)
        return row_id(row)

    def _of_row(
        self, item_id: str, fields: Mapping[str, Any], template: Template, place: str, size: int
    ) -> Item:
        prompt = template.render(fields)
        input: dict[str, Any] = {"prompt": prompt}
        problem = None
        if fields.get("file") and "file" not in template.fields:
            input["file"], problem = self.folder.file_of(fields["file"])
        if not any(_filled(fields[name]) for name in template.fields):
            # The template's own words alone ask nothing about this row.
            problem = problem or (
                None if "file" in input else empty_prompt("the fields of --prompt are all empty")
            )
        if problem is None and size + len(prompt) > MAX_TEXT_BYTES // 4:
            problem = too_large(input)
        return Item(item_id, {} if _oversized(problem) else input, None, problem, place)

    def _own_input(self, fields: Mapping[str, Any]) -> tuple[dict[str, Any], ErrorInfo | None]:
        named = [key for key in INPUT_KEYS if key in fields]
        template = self.template
        if template is not None and (template.fields or named != ["file"]):
            raise self._misfit(template, fields)
        if not named:
            return self._nothing_named(fields)
        for key in fields:
            if key not in KNOWN_KEYS and key != self.id_field:
                return {}, _unknown_field(key, named[0])
        if len(named) > 1 and named not in _TOGETHER:
            return {}, ErrorInfo(0, "AMBIGUOUS_INPUT", f"{listed(named)} stand side by side: keep one")
        input, problem = self._values(fields, named)
        if template is not None:  # the same words for every file
            input["prompt"] = template.render({})
        return input, problem

    def _misfit(self, template: Template, fields: Mapping[str, Any]) -> Misfit:
        missing = sorted(template.fields - fields.keys())
        if not missing:
            return Misfit("--prompt has no {field}: every row would ask the same. Put the row's fields in it")
        return Misfit(
            f"no field {shown(missing[0])}, which --prompt names{meant(missing[0], fields.keys())} "
            f"It has: {listed(fields.keys())}"
        )

    def _nothing_named(self, fields: Mapping[str, Any]) -> tuple[dict[str, Any], ErrorInfo | None]:
        others = [key for key in fields if key not in KNOWN_KEYS and key != self.id_field]
        if not others:
            return {}, empty_prompt("no prompt, messages, text, file, request or input")
        near = next(filter(None, (nearest(key, INPUT_KEYS, alike=0.8) for key in others)), None)
        hint = f"; did you mean {shown(near)}?" if near else "."
        raise BadRow(
            f"no prompt, messages, text, file, request or input among {listed(fields.keys())}{hint} "
            f"To make prompts of rows: --prompt '{{{shown(others[0])[1:-1]}}}'"
        )

    def _values(self, fields: Mapping[str, Any], named: list[str]) -> tuple[dict[str, Any], ErrorInfo | None]:
        input: dict[str, Any] = {}
        for key in named:
            value = fields[key]
            if key == "input":
                if not isinstance(value, Mapping):
                    return {}, wrong_type(key, "an object", value)
                input = dict(value)
                if "file" not in input:
                    return input, None
                key, value = "file", input["file"]
            if key == "file":
                input["file"], problem = self.folder.file_of(value)
            else:
                problem = _CHECKS[key](key, value)
                input[key] = value
            if problem is not None:
                return input, problem
        return input, None


def checked_id(value: Any, field: str) -> str:
    """An id as text; whole numbers become theirs. Raises BadRow."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadRow(f"{shown(field)} is {_kind(value)}: an id is a text or a whole number")
    if not value.strip():
        raise BadRow(f"{shown(field)} is empty: give each item an id, or none at all to number them")
    if not value.isprintable() and _CONTROL.search(value):
        raise BadRow(f"{shown(field)} holds a control character or line break: take it out")
    if len(value) > MAX_ID_BYTES // 4 and len(value.encode()) > MAX_ID_BYTES:
        raise BadRow(f"{shown(field)} is longer than {MAX_ID_BYTES} bytes: shorten it")
    return value


def text_bytes(value: Any) -> tuple[int, int]:
    """UTF-8 bytes of all texts in a value, and characters of base64 data inside a request."""
    text = inline = 0
    todo = [("", value)]
    while todo:
        key, one = todo.pop()
        if isinstance(one, str):
            text += len(one.encode("utf-8", "surrogatepass"))
        elif isinstance(one, Mapping):
            if key in ("inlineData", "inline_data") and isinstance(one.get("data"), str):
                inline += len(one["data"])
                one = {name: part for name, part in one.items() if name != "data"}
            todo.extend((str(name), part) for name, part in one.items())
        elif isinstance(one, (list, tuple)):
            todo.extend(("", part) for part in one)
    return text, inline


def too_large(input: Any) -> ErrorInfo | None:
    text, inline = text_bytes(input)
    if text > MAX_TEXT_BYTES:
        message = (
            f"{text / 1e6:.1f} MB of text; at most {MAX_TEXT_BYTES // 10**6} MB go in one item: split it"
        )
        return ErrorInfo(0, "TOO_LARGE", message)
    if inline > MAX_INLINE_BYTES:
        message = (
            f"{inline / 1e6:.1f} MB of inline data; at most {MAX_INLINE_BYTES // 10**6} MB go in one item"
        )
        return ErrorInfo(0, "TOO_LARGE", message)
    return None


def wrong_type(field: str, wanted: str, value: Any) -> ErrorInfo:
    return ErrorInfo(0, "WRONG_TYPE", f"{field} is {_kind(value)}: it must be {wanted}")


def empty_prompt(message: str) -> ErrorInfo:
    return ErrorInfo(0, "EMPTY_PROMPT", message)


def _unknown_field(key: str, beside: str) -> ErrorInfo:
    message = (
        f"{shown(key)} is not a field of an item{meant(key, KNOWN_KEYS)} Known: {listed(sorted(KNOWN_KEYS))}"
    )
    if beside in ("prompt", "text"):
        message += f". For rows with fields of their own: --prompt '{{{beside}}}'"
    return ErrorInfo(0, "UNKNOWN_FIELD", message)


def _oversized(problem: ErrorInfo | None) -> bool:
    return problem is not None and problem.status == "TOO_LARGE"


def _check_text(key: str, value: Any) -> ErrorInfo | None:
    if not isinstance(value, str):
        return wrong_type(key, "a text", value)
    return None if value and not value.isspace() else empty_prompt(f"{key} is empty")


def _check_request(key: str, value: Any) -> ErrorInfo | None:
    if not isinstance(value, Mapping):
        return wrong_type(key, "an object (a GenerateContentRequest)", value)
    return None if value else empty_prompt("the request is empty")


def _check_messages(key: str, value: Any) -> ErrorInfo | None:
    if not isinstance(value, (list, tuple)):
        return wrong_type(key, "a list of {role, content}", value)
    for number, message in enumerate(value, 1):
        where = f"{key}[{number}]"
        if not isinstance(message, Mapping):
            return wrong_type(where, "an object with role and content", message)
        for field in message:
            if field not in ("role", "content"):
                text = f"{where}: {shown(field)} is not a field of a message: it has role and content"
                return ErrorInfo(0, "UNKNOWN_FIELD", text)
        if message.get("role") not in ROLES:
            text = f"{where}: the role is {shown(message.get('role'))}: it must be system, user or assistant"
            return ErrorInfo(0, "WRONG_TYPE", text)
        if not isinstance(message.get("content"), str):
            return wrong_type(f"{where}: content", "a text", message.get("content"))
    asked = any(one["role"] != "system" and one["content"].strip() for one in value)
    return None if asked else empty_prompt("messages hold no text beside the system's")


_CHECKS = {
    "prompt": _check_text,
    "text": _check_text,
    "messages": _check_messages,
    "request": _check_request,
}


def _filled(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"


def _json_size(value: Any) -> int:
    """Length as JSON of a value that a Python caller made. Raises BadRow where it is none."""
    try:
        text = json.dumps(
            dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False, allow_nan=False
        )
        text.encode()
    except UnicodeEncodeError:
        raise BadRow("a text holds half of a surrogate pair: it is no character") from None
    except RecursionError:
        raise BadRow(f"it nests deeper than {MAX_DEPTH}") from None
    except (TypeError, ValueError) as exc:
        raise BadRow(f"it cannot be written as JSON: {exc}") from None
    if text.count("{") + text.count("[") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        raise BadRow(f"objects and lists nest deeper than {MAX_DEPTH}")
    return len(text)
