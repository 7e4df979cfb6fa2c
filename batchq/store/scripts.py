"""Loads the Lua files. Each is one transition; its header is its contract (tests/store/test_scripts.py)."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis import Redis
    from redis.commands.core import Script

CALL = re.compile(r'redis\.p?call\("([A-Z]+)"')
INCLUDE = re.compile(r"^--- include (\w+)$", re.MULTILINE)


@cache
def source(name: str) -> str:
    """The text of a script, its includes in place."""
    folder = files("batchq.store").joinpath("lua")
    text = folder.joinpath(f"{name}.lua").read_text("utf-8")
    return INCLUDE.sub(lambda match: folder.joinpath("include", f"{match[1]}.lua").read_text("utf-8"), text)


def names() -> list[str]:
    """Every script there is."""
    folder = files("batchq.store").joinpath("lua")
    found = (one.name.removesuffix(".lua") for one in folder.iterdir() if one.name.endswith(".lua"))
    return sorted(found)


def commands(name: str) -> set[str]:
    """What a script calls."""
    return set(CALL.findall(source(name)))


class Scripts:
    """The scripts bound to one client: `scripts.take(keys=[…], args=[…])`.

    redis-py's Script sends EVALSHA and the text only when the server does not know it, so every version of the
    code brings its own text and old and new run side by side.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._bound: dict[str, Script] = {}

    def __getattr__(self, name: str) -> Any:
        script = self._bound.get(name)
        if script is None:
            script = self._bound[name] = self._client.register_script(source(name))
        return script
