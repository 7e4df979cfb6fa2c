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
JOBS_EVERY_MS, LETTERS_EVERY_MS = 2_000, 5_000  # between two polls of a page

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


class JobsPage(BaseHandler):  # type: ignore[misc]
    @web.authenticated
    def get(self) -> None:
        self.render(
            "jobs.html",
            data_url=self.reverse_url("batchq_jobs_data"),
            letters_url=self.reverse_url("batchq_dead_letters"),
            every_ms=JOBS_EVERY_MS if self.application.options.auto_refresh else 0,
        )


class DeadLettersPage(BaseHandler):  # type: ignore[misc]
    @web.authenticated
    def get(self) -> None:
        self.render(
            "dead_letters.html",
            data_url=self.reverse_url("batchq_dead_letters_data"),
            every_ms=LETTERS_EVERY_MS if self.application.options.auto_refresh else 0,
        )


# -- data --------------------------------------------------------------------------------------------------------


class _Answers:
    """What the data handlers share, whichever of Flower's classes they build on."""

    async def answer(self: Any, read: Callable[..., Page], **filters: str | None) -> None:
        """Answer with a page of rows as JSON, or with what went wrong: 400, 404, or 503 for the store."""
        self.set_header("Cache-Control", "no-store")
        try:
            which = Slice(self.whole("offset", 0), self.whole("limit", reader.PAGE))
            page = await asyncio.get_running_loop().run_in_executor(
                _readers, lambda: read(_reader(), which, **filters)
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

    @web.authenticated
    async def get(self) -> None:
        await self.answer(self.read, state=self.given("state"))


class DeadLettersData(_Answers, BaseHandler):  # type: ignore[misc]
    """Rows of the Dead letters page."""

    read = staticmethod(partial(Reader.dead_letters, row=reader.letter_row))

    @web.authenticated
    async def get(self) -> None:
        await self.answer(self.read, job_id=self.given("job_id"), reason=self.given("reason"))


class JobsApi(_Answers, BaseApiHandler):  # type: ignore[misc]
    """Jobs for programs: exact texts, and the rule of Flower's API that there is a login at all."""

    read = staticmethod(partial(Reader.jobs, row=reader.job_document))

    @web.authenticated
    async def get(self) -> None:
        await self.answer(self.read, state=self.given("state"))


class DeadLettersApi(_Answers, BaseApiHandler):  # type: ignore[misc]
    """Dead letters for programs."""

    read = staticmethod(partial(Reader.dead_letters, row=reader.letter_document))

    @web.authenticated
    async def get(self) -> None:
        await self.answer(self.read, job_id=self.given("job_id"), reason=self.given("reason"))
