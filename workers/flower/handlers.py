"""The pages and their data. Reading only: there is no method here but GET, and every one asks for the login.

The pages poll JSON, which survives proxies. What reads Redis runs in threads of our own, so that a slow store
stops neither Flower nor its inspection of the workers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

from flower.api import BaseApiHandler
from flower.views import BaseHandler
from tornado import web

from batchq.client import Client
from batchq.errors import BatchqError, InputError, NotFound
from workers.flower import reader
from workers.flower.reader import Page, Reader, Slice

THREADS = 2

_readers = ThreadPoolExecutor(THREADS, thread_name_prefix="batchq-pages")
_making = threading.Lock()


@cache
def _made() -> Reader:
    from workers.place import place

    return Reader(Client(place=place))


def _reader() -> Reader:
    """The one reader of this process, made at its first use."""
    with _making:
        return _made()


# -- pages -------------------------------------------------------------------------------------------------------


class _LivePage(BaseHandler):  # type: ignore[misc]
    """A table that asks for its rows again and again; its data are at the address called `tab` and `_data`."""

    tab: str  # its name among Flower's addresses
    template: str
    title: str
    about: str
    every_ms: int  # between two polls

    @web.authenticated
    def get(self) -> None:
        self.render(
            self.template,
            tab=self.tab,
            title=self.title,
            about=self.about,
            every_ms=self.every_ms if self.application.options.auto_refresh else 0,
        )


class JobsPage(_LivePage):
    tab, template = "batchq_jobs", "jobs.html"
    title, about = "Jobs", "Jobs"
    every_ms = 2_000


class DeadLettersPage(_LivePage):
    tab, template = "batchq_dead_letters", "dead_letters.html"
    title, about = "Dead letters", "Items that did not succeed"
    every_ms = 5_000


# -- data --------------------------------------------------------------------------------------------------------


class _Answers:
    """What the data handlers share, whichever of Flower's classes they build on."""

    read: Callable[..., Page]
    filters: tuple[str, ...]  # arguments that `read` takes

    @web.authenticated
    async def get(self: Any) -> None:
        """Answer with a page of rows as JSON, or with what went wrong: 400, 404, or 503 for the store."""
        self.set_header("Cache-Control", "no-store")
        try:
            which = Slice(self.whole("offset", 0), self.whole("limit", reader.PAGE))
            filters = {name: self.given(name) for name in self.filters}
            page = await asyncio.get_running_loop().run_in_executor(
                _readers, lambda: self.read(_reader(), which, **filters)
            )
        except BatchqError as exc:
            self.set_status(_status_of(exc))
            self.finish({"error": str(exc)})
        else:
            self.finish(page.to_json())

    def given(self: Any, name: str) -> str | None:
        """An argument as it came, unescaped: it is looked up, never shown. None: not given, or empty."""
        text: str | None = self.get_argument(name, None, escape=False)
        return text or None

    def whole(self: Any, name: str, default: int) -> int:
        text = self.given(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InputError(f"{name} must be a whole number")
        return int(text)


def _status_of(exc: BatchqError) -> int:
    match exc:
        case NotFound():
            return 404
        case InputError():
            return 400
    return 503


class JobsData(_Answers, BaseHandler):  # type: ignore[misc]
    """Rows of the Jobs page."""

    read = staticmethod(partial(Reader.jobs, row=reader.job_row))
    filters = ("state",)


class DeadLettersData(_Answers, BaseHandler):  # type: ignore[misc]
    """Rows of the Dead letters page."""

    read = staticmethod(partial(Reader.dead_letters, row=reader.letter_row))
    filters = ("job_id", "reason")


class JobsApi(_Answers, BaseApiHandler):  # type: ignore[misc]
    """Jobs for programs: exact texts, and the rule of Flower's API that there is a login at all."""

    read = staticmethod(partial(Reader.jobs, row=reader.job_document))
    filters = ("state",)


class DeadLettersApi(_Answers, BaseApiHandler):  # type: ignore[misc]
    """Dead letters for programs."""

    read = staticmethod(partial(Reader.dead_letters, row=reader.letter_document))
    filters = ("job_id", "reason")
