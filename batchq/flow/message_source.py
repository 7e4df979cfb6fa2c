"""Which lists and destinations a `batchq.submit` message may name.

Whoever can write to the queue has a worker read them, with that worker's rights and from its place in the network: so
files under its file roots, addresses whose beginning its settings name, and no others.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from batchq.errors import InputError
from batchq.formats import InputSpec, is_address, masked
from batchq.formats.addresses import local_path
from batchq.formats.places import Folder
from batchq.formats.words import shown
from batchq.settings import Settings


def spec_of(source: str, prompt: str | None, settings: Settings) -> InputSpec:
    """What to read. Files that its rows name lie under the file roots too. Raises InputError."""
    roots = tuple(map(str, settings.file_roots))
    path = local_path(source) if is_address(source) else source
    if path is None:
        _check_address(source, settings.sources)
    elif not roots:
        raise InputError(
            f"{shown(source)}: the workers have no BATCHQ_FILE_ROOTS, so a message can name no file"
        )
    else:
        place, problem = Folder.of(roots[0], roots).find(path)
        if problem is not None:
            raise InputError(problem.message)
        source = place["path"]
    # a list at an address has no folder of its own: where its relative names lead is not the worker's folder
    own = (roots[0] if roots else os.devnull) if path is None else None
    return InputSpec(source, prompt=prompt, roots=roots, folder=own, apart=True)


def check_destination_of_message(url: str, settings: Settings) -> None:
    """Whoever can write to the queue has a worker write there. Raises InputError."""
    if not _is_under(url, settings.destinations):
        raise InputError(
            f"{shown(masked(url))} is none of the addresses that a message may name: add its beginning to the "
            "workers' BATCHQ_DESTINATIONS, or submit with batchq.Client or `batchq submit`"
        )


def _check_address(address: str, allowed: tuple[str, ...]) -> None:
    if not _is_under(address, allowed):
        raise InputError(
            f"{shown(masked(address))} is none of the addresses that a message may name: add its beginning to the "
            "workers' BATCHQ_SOURCES, or submit it with batchq.Client or `batchq submit`"
        )


def _is_under(address: str, allowed: tuple[str, ...]) -> bool:
    path = unquote(re.split(r"[?#]", address)[0])
    roundabout = "::" in path or "\\" in path or ".." in path.split("/")
    return not roundabout and any(address.startswith(beginning) for beginning in allowed)
