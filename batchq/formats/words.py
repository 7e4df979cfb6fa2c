"""How names of the user's stand in messages: short, on one line, with the nearest known name beside them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection

from batchq.core.records import Json

_SHOWN = 80  # characters of a name before it is cut


def shown(name: object) -> str:
    """A name in quotes, control characters escaped, cut to 80 characters: it may come from anybody."""
    text = str(name)
    return ascii(text[:_SHOWN])[:-1] + "…'" if len(text) > _SHOWN else quoted(text)


def shown_json(value: Json) -> str:
    """A value of the user's JSON: text as a name is shown, anything else as JSON has it (`true`, not `True`)."""
    if isinstance(value, str):
        return shown(value)
    text = json.dumps(value)
    return f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text


def quoted(text: str) -> str:
    return repr(text) if text.isprintable() else ascii(text)


def listed(names: Collection[str], most: int = 12) -> str:
    """Names, comma by comma; the first `most` of them."""
    some = [shown(name)[1:-1] for name in list(names)[:most]]
    more = len(names) - len(some)
    return ", ".join(some) + (f" and {more} more" if more else "")


def nearest(name: str, known: Collection[str], alike: float = 0.6) -> str | None:
    """The known name that a slip of the keyboard made this of; None: none is `alike` (1: the same)."""
    return next(iter(difflib.get_close_matches(name[:_SHOWN], list(known)[:200], n=1, cutoff=alike)), None)


def meant(name: str, known: Collection[str]) -> str:
    """The end of a sentence that complains about a name: `; did you mean 'prompt'?`, or a full stop."""
    near = nearest(name, known)
    return f"; did you mean {shown(near)}?" if near else "."
