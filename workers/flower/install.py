"""Puts the pages into Flower before it is built. None of what this reaches into is a published API of Flower's:
pyproject.toml holds Flower to 2.2, and tests/flower looks at every page.
"""

from __future__ import annotations

import ipaddress

from flower import urls
from tornado.options import options
from tornado.web import StaticFileHandler, url

from batchq.errors import ConfigurationError
from workers.flower import handlers
from workers.flower.templates import OURS, PagesLoader

STATIC = str(OURS / "static")
LOOPBACK = "127.0.0.1"


def install() -> None:
    """Add the pages, their data and their entries in the navigation. Once is enough, twice does no harm."""
    if any(getattr(handler, "name", None) == "batchq_jobs" for handler in urls.handlers):
        return
    # tornado.web.url, never tuples: a URL prefix would drop what a tuple carries beside its class
    urls.handlers[:0] = [
        url(r"/jobs", handlers.JobsPage, name="batchq_jobs"),
        url(r"/jobs/data", handlers.JobsData, name="batchq_jobs_data"),
        url(r"/dead-letters", handlers.DeadLettersPage, name="batchq_dead_letters"),
        url(r"/dead-letters/data", handlers.DeadLettersData, name="batchq_dead_letters_data"),
        url(r"/api/jobs", handlers.JobsApi, name="batchq_jobs_api"),
        url(r"/api/dead-letters", handlers.DeadLettersApi, name="batchq_dead_letters_api"),
        url(r"/batchq/static/(.*)", StaticFileHandler, {"path": STATIC}, name="batchq_static"),
    ]
    urls.settings["template_loader"] = PagesLoader(urls.settings["template_path"])


def listening_address() -> str:
    """Where Flower shall listen: as its command line or FLOWER_ADDRESS say, else on this machine alone.

    Flower's own default is every network the machine is in. Raises ConfigurationError for an address that others
    reach, when nothing asks them for a login.
    """
    where: str = options.address or LOOPBACK
    if not (options.unix_socket or options.basic_auth or options.auth or _is_loopback(where)):
        raise ConfigurationError(
            f"Flower would show jobs and errors to whoever reaches {where}, without a login: set "
            "FLOWER_BASIC_AUTH=NAME:PASSWORD, or OAuth (docs/flower.md), or listen on 127.0.0.1"
        )
    return where


def _is_loopback(where: str) -> bool:
    try:
        return where == "localhost" or ipaddress.ip_address(where.strip("[]")).is_loopback
    except ValueError:
        return False
