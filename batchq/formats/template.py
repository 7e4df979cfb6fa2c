"""`--prompt`: one text with the row's fields in it.

`{name}` is the row's field of that name, `{{` and `}}` are literal braces. Nothing else: `str.format` would
let a template reach into attributes and pad values, and a typo there surfaces as a wrong prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from batchq.errors import InputError
from batchq.formats.words import listed, meant, shown

_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_REFUSED = {".": "attributes", "[": "indexes", "!": "conversions", ":": "format specs"}


@dataclass(frozen=True, slots=True)
class Template:
    source: str
    parts: tuple[tuple[str, str | None], ...]  # a literal and the field after it; None: none follows
    fields: frozenset[str]

    @classmethod
    def parse(cls, source: str) -> Template:
        """Raises InputError for an empty template, a lone brace, and anything but a plain name in braces."""
        if not source.strip():
            raise InputError("--prompt is empty: give a text, such as --prompt 'Translate: {text}'")
        parts: list[tuple[str, str | None]] = []
        literal, start = "", 0
        for token in _TOKEN.finditer(source):
            literal += source[start : token.start()]
            start = token.end()
            if token[0] in ("{{", "}}"):
                literal += token[0][0]
            else:
                parts.append((literal, _field(token)))
                literal = ""
        parts.append((literal + source[start:], None))
        return cls(source, tuple(parts), frozenset(field for _, field in parts if field is not None))

    def check(self, known: Collection[str], what: str) -> None:
        """Raise InputError naming the first field that `known` lacks; `what` has the fields ("the CSV file")."""
        for _, field in self.parts:
            if field is not None and field not in known:
                raise InputError(
                    f"--prompt names {{{shown(field)[1:-1]}}}, which {what} does not have"
                    f"{meant(field, known)} It has: {listed(known)}. (Write {{{{ and }}}} for literal braces.)"
                )

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill in the fields. null is the empty text, other JSON values their JSON. Raises KeyError."""
        out: list[str] = []
        for literal, field in self.parts:
            out.append(literal)
            if field is not None:
                value = values[field]
                out.append(value if isinstance(value, str) else _spelt(value))
        return "".join(out)


def _field(token: re.Match[str]) -> str:
    place = f"--prompt, character {token.start() + 1}"
    if len(token[0]) == 1:
        raise InputError(f"{place}: a lone '{token[0]}': write '{token[0] * 2}' for a literal brace")
    name = token[0][1:-1]
    if not name.strip():
        raise InputError(f"{place}: {{}} names no field: write {{text}}, or '{{{{}}}}' for literal braces")
    for mark, what in _REFUSED.items():
        if mark in name:
            raise InputError(
                f"{place}: {{{shown(name)[1:-1]}}}: {what} are not supported: name a field alone, as in {{text}}"
            )
    return name


def _spelt(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
