"""`--prompt`: one text with the row's fields in it.

`{name}` is the row's field of that name, `{{` and `}}` are literal braces. Nothing else: `str.format` would
let a template reach into attributes and pad values, and a typo there surfaces as a wrong prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchq.errors import InputError
from batchq.formats.words import listed, meant, shown

_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_REFUSED = {".": "attributes", "[": "indexes", "!": "conversions", ":": "format specs"}


@dataclass(frozen=True, slots=True)
class Template:
    """Raises InputError for an empty text, a lone brace, and anything but a plain name in braces."""

    source: str
    parts: tuple[tuple[str, str | None], ...] = field(
        init=False
    )  # a literal, the field after it; None: the end
    fields: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        parts = tuple(_parts(self.source))
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "fields", frozenset(name for _, name in parts if name is not None))

    def check(self, known: Collection[str], what: str) -> None:
        """Raise InputError naming the first field that `known` lacks; `what` has the fields ("the CSV file")."""
        for _, name in self.parts:
            if name is not None and name not in known:
                raise InputError(
                    f"--prompt names {{{shown(name)[1:-1]}}}, which {what} does not have"
                    f"{meant(name, known)} It has: {listed(known)}. (Write {{{{ and }}}} for literal braces.)"
                )

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill in the fields. null is the empty text, other JSON values their JSON. Raises KeyError."""
        out: list[str] = []
        for literal, name in self.parts:
            out.append(literal)
            if name is not None:
                value = values[name]
                out.append(value if isinstance(value, str) else _spelt(value))
        return "".join(out)


def _parts(source: str) -> Iterator[tuple[str, str | None]]:
    if not source.strip():
        raise InputError("--prompt is empty: give a text, such as --prompt 'Translate: {text}'")
    literal, start = "", 0
    for token in _TOKEN.finditer(source):
        literal += source[start : token.start()]
        start = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
        else:
            yield literal, _field(token)
            literal = ""
    yield literal + source[start:], None


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
