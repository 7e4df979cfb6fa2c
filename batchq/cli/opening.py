"""What commands begin with: settings, the server, a client."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from batchq.cli import say

if TYPE_CHECKING:
    from batchq.client import Client
    from batchq.settings import Settings
    from batchq.wiring import Place


def settings() -> Settings:
    """The settings in force; modules of BATCHQ_INCLUDE are also found in the working folder, as Celery finds them."""
    from batchq.settings import load

    loaded = load()
    here = os.getcwd()  # noqa: PTH109
    if loaded.include and here not in sys.path:
        sys.path.append(here)
    return loaded


def place() -> Place:
    """Where the job store is; the embedded server is started when nothing else is configured."""
    from batchq import wiring

    return wiring.locate(settings(), start=True)


def client() -> Client:
    from batchq.client import Client

    return Client(place=place())


def check_operation(name: str, loaded: Settings) -> None:
    """Raises a usage error where there is no such operation, and ConfigurationError for broken modules."""
    from batchq import wiring
    from batchq.errors import ConfigurationError
    from batchq.operations import registry

    wiring.load_operations(loaded)
    try:
        registry.get(name)
    except ConfigurationError as exc:
        raise click.BadParameter(str(exc), param_hint="'--operation'") from None


def tell_place(found: Place) -> None:
    from batchq.core.redis_url import parse

    shown = parse(found.settings.store_url).shown
    say.note(f"server: {'embedded, ' if found.embedded else ''}{shown}")
