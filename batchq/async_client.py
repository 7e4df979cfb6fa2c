"""AsyncClient: the Client's methods, awaited. One implementation: each call runs in a thread of its own pool."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import wraps
from itertools import islice
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack

from batchq.client import Client, Job
from batchq.collector import Collector
from batchq.core.job import JobRecord, JobStatus
from batchq.core.lifecycle import ItemState
from batchq.core.records import Item, Result
from batchq.errors import Complaint, StoreUnavailable
from batchq.flow.plan import Plan
from batchq.flow.quotas import Quotas
from batchq.flow.submission import Accepted, Submission, SubmitOptions
from batchq.formats.given import Rows
from batchq.settings import Settings
from batchq.wiring import Place

THREADS = 8  # calls at once; waiting ones have a thread each beside these
LOOK_S = 0.2  # between looks at whether anybody still awaits a submission
PAGE = 100  # entries of a list that one hop to a thread brings

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S", covariant=True)
AsyncRows = Rows | AsyncIterable[Any]


class Cancelled(Exception):
    """The awaiting task was cancelled: what its thread was about to do is not done."""


class _Twin(Protocol[S]):
    """The asynchronous form of an S."""

    def _sync(self) -> S: ...

    async def _in_pool(self, what: Callable[[], T]) -> T: ...


def _awaited(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[_Twin[S], P], Coroutine[Any, Any, T]]:
    """The same method, in a thread of the pool."""

    @wraps(method)
    async def call(self: _Twin[S], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._in_pool(lambda: method(self._sync(), *args, **kwargs))

    return call


def _listed(
    method: Callable[Concatenate[Client, P], Iterator[T]],
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]:
    """The same method, a page of its entries at a time."""

    @wraps(method)
    def call(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        def entries() -> Iterator[T]:
            yield from method(self.client, *args, **kwargs)  # in the pool too, for it may read already

        return self._paged(entries())

    return call


def _fed(
    method: Callable[Concatenate[Client, Rows, P], T], made: Callable[[AsyncClient, T], R]
) -> Callable[Concatenate[AsyncClient, AsyncRows, P], Coroutine[Any, Any, R]]:
    """The same method, in a thread of its own that asks the loop for its items; `made` is what it answers here."""

    @wraps(method)
    async def call(self: AsyncClient, items: AsyncRows, *args: P.args, **kwargs: P.kwargs) -> R:
        stop = threading.Event()
        rows = _rows(items, asyncio.get_running_loop(), stop)
        return made(self, await self._apart(lambda: method(self.client, rows, *args, **kwargs), stop))

    call.__doc__ = f"""{(method.__doc__ or "").rstrip()}

        `items` may be an asynchronous iterable too. Cancelling the call before it is through breaks it off.
        """
    return call  # type: ignore[return-value]  # a Callable cannot say that `items` has a name


class AsyncJob:
    """A handle on one job. Making it reads nothing."""

    def __init__(self, client: AsyncClient, job_id: str) -> None:
        self._client, self.id = client, job_id

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"

    async def status(self) -> JobStatus:
        """The record as it is now. Raises NotFound."""
        return await self._client.status(self.id)

    async def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait for an end state: completed, failed or cancelled with nothing in flight. Raises WaitTimeout."""
        return await self._client.wait(self.id, timeout)

    def results(self, *, wait: bool = False) -> AsyncIterator[Result]:
        """Settled items in input order, streamed. With `wait` each as its turn settles, to the last."""
        return self._client.results(self.id, wait=wait)

    async def cancel(self) -> None:
        """Nothing more goes out; what is in flight may still settle. Raises NotFound, Conflict (it has ended)."""
        await self._client.cancel(self.id)

    async def pause(self, why: str = "") -> None:
        """Send nothing more until resume(). Raises NotFound, Conflict (it has ended)."""
        await self._client.pause(self.id, why)

    async def resume(self, max_cost: float | None = None) -> None:
        """Lift every cause it is paused for; with `max_cost` its cost limit is that, USD, from now on."""
        await self._client.resume(self.id, max_cost)


class AsyncCollector:
    """A handle on a collector, awaited."""

    def __init__(self, client: AsyncClient, make: Callable[[], Collector[Job]]) -> None:
        self._client, self._make = client, make
        self._made: Collector[Job] | None = None

    add = _awaited(Collector.add)

    async def flush(self) -> list[AsyncJob]:
        """Make jobs of all that waits, now. A batch that another process is just making a job of is left to it."""
        jobs = await self._in_pool(lambda: self._sync().flush())
        return [AsyncJob(self._client, job.id) for job in jobs]

    def _sync(self) -> Collector[Job]:
        """Made at the first call, in a thread: it looks at its options."""
        if self._made is None:
            self._made = self._make()
        return self._made

    async def _in_pool(self, what: Callable[[], T]) -> T:
        return await self._client._in_pool(what)


class AsyncQuotas:
    """`client.quotas`, awaited."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    show = _awaited(Quotas.show)
    get = _awaited(Quotas.get)
    which = _awaited(Quotas.which)
    set = _awaited(Quotas.set)
    reset = _awaited(Quotas.reset)
    pause = _awaited(Quotas.pause)
    resume = _awaited(Quotas.resume)

    def _sync(self) -> Quotas:
        return self._client.client.quotas

    async def _in_pool(self, what: Callable[[], T]) -> T:
        return await self._client._in_pool(what)


class AsyncClient:
    """batchq for asynchronous programs: the methods of Client, which it holds in `client`, with its arguments."""

    def __init__(
        self, redis_url: str | None = None, *, settings: Settings | None = None, place: Place | None = None
    ) -> None:
        """Raises ConfigurationError when nothing says where the job store is."""
        self.client = Client(redis_url, settings=settings, place=place)
        self._pools: dict[int, ThreadPoolExecutor] = {}  # by process: a forked child needs its own threads

    submit = _fed(Client.submit, lambda self, job: AsyncJob(self, job.id))
    plan = _fed(Client.plan, lambda _, plan: plan)
    status = _awaited(Client.status)
    list = _listed(Client.list)
    pin = _awaited(Client.pin)
    cancel = _awaited(Client.cancel)
    pause = _awaited(Client.pause)
    resume = _awaited(Client.resume)
    delete = _awaited(Client.delete)
    dead_letters = _listed(Client.dead_letters)
    redrive = _awaited(Client.redrive)
    purge = _awaited(Client.purge)
    fleet = _awaited(Client.fleet)

    @property
    def settings(self) -> Settings:
        return self.client.settings

    @property
    def embedded(self) -> bool:
        """Whether the job store is the embedded server."""
        return self.client.embedded

    @property
    def quotas(self) -> AsyncQuotas:
        """How the fleet's quotas stand, and changing them while everything runs."""
        return AsyncQuotas(self)

    async def accept(
        self,
        submission: Submission,
        rows: Iterable[Item | Complaint] | AsyncIterable[Item | Complaint],
        *,
        preflight: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> Accepted:
        """`submit` for callers that read the input themselves. `progress` is called in a thread."""
        stop = threading.Event()
        given: Any = _rows(rows, asyncio.get_running_loop(), stop)
        return await self._apart(
            lambda: self.client.accept(submission, given, preflight=preflight, progress=progress), stop
        )

    async def foresee(
        self, submission: Submission, rows: Iterable[Item | Complaint] | AsyncIterable[Item | Complaint]
    ) -> Plan:
        """`plan` for callers that read the input themselves."""
        stop = threading.Event()
        given: Any = _rows(rows, asyncio.get_running_loop(), stop)
        return await self._apart(lambda: self.client.foresee(submission, given), stop)

    def collector(
        self,
        name: str,
        *,
        flush_items: int = 500,
        flush_after_s: float = 60,
        **options: Unpack[SubmitOptions],
    ) -> AsyncCollector:
        """Items added one by one, by any process, become a job at `flush_items`, or `flush_after_s` after the first.

        `options` are submit's, of each job; of callers that differ those of whoever added last hold. What is wrong
        with them is told by the first call.
        """
        return AsyncCollector(
            self,
            lambda: self.client.collector(
                name, flush_items=flush_items, flush_after_s=flush_after_s, **options
            ),
        )

    async def get(self, job_id: str) -> AsyncJob:
        """Raises NotFound."""
        await self._in_pool(lambda: self.client.get(job_id))
        return AsyncJob(self, job_id)

    async def wait(
        self,
        job_id: str,
        timeout: float | None = None,
        watch: Callable[[JobRecord], bool] | None = None,
        away: Callable[[StoreUnavailable], None] | None = None,
    ) -> JobRecord:
        """Wait for the end. `watch` sees each record on the way and ends the waiting by answering True.

        While Redis is away it waits on; `away` hears of it at each try. Both are called in a thread. Raises
        WaitTimeout, NotFound.
        """
        stop = threading.Event()

        def seen(record: JobRecord) -> bool:
            return stop.is_set() or (watch is not None and watch(record))

        def unseen(error: StoreUnavailable) -> None:
            if stop.is_set():
                raise Cancelled
            if away is not None:
                away(error)

        return await self._apart(lambda: self.client.wait(job_id, timeout, watch=seen, away=unseen), stop)

    def results(
        self, job_id: str, *, only: frozenset[ItemState] | None = None, wait: bool = False
    ) -> AsyncIterator[Result]:
        """Settled items in input order; `only` of these states. Raises NotFound.

        With `wait` each as its turn settles; who stops asking ends the waiting.
        """
        stop = threading.Event()
        found = self.client.results(job_id, only=only, wait=wait, stop=stop)
        return self._streamed(found, 1, lambda take: self._apart(take, stop)) if wait else self._paged(found)

    async def close(self) -> None:
        """Close connections and threads; a later call opens new ones."""
        await self._in_pool(self.client.close)
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.shutdown(wait=False)

    aclose = close  # the name by which contextlib.aclosing and its like close

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- threads --------------------------------------------------------------------------------------------

    def _sync(self) -> Client:
        return self.client

    async def _in_pool(self, what: Callable[[], T]) -> T:
        """A call that ends by itself."""
        pid = os.getpid()
        if pid not in self._pools:
            self._pools[pid] = ThreadPoolExecutor(THREADS, thread_name_prefix="batchq")
        return await asyncio.get_running_loop().run_in_executor(self._pools[pid], what)

    async def _apart(self, what: Callable[[], T], stop: threading.Event) -> T:
        """A call that may take for ever, in a thread of its own; `stop` is set when nobody awaits it any more."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def tell(set_it: Callable[[Any], None], value: Any) -> None:
            if not future.done():
                set_it(value)

        def run() -> None:
            try:
                done = what()
            except BaseException as exc:
                outcome: tuple[Callable[[Any], None], Any] = future.set_exception, exc
            else:
                outcome = future.set_result, done
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                loop.call_soon_threadsafe(tell, *outcome)

        threading.Thread(target=run, name="batchq waiting", daemon=True).start()
        try:
            return await future
        except asyncio.CancelledError:
            stop.set()
            raise

    def _paged(self, found: Iterator[T]) -> AsyncIterator[T]:
        return self._streamed(found, PAGE, self._in_pool)

    async def _streamed(
        self,
        found: Iterator[T],
        most: int,
        call: Callable[[Callable[[], Sequence[T]]], Awaitable[Sequence[T]]],
    ) -> AsyncIterator[T]:
        while page := await call(lambda: list(islice(found, most))):
            for one in page:
                yield one


def _rows(items: AsyncRows, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> Rows:
    """The rows for the submitting thread. They raise Cancelled once nobody awaits it any more."""
    if isinstance(items, str | Mapping):
        return items  # refused by the client, which says what to do
    rows = _pulled(items, loop, stop) if isinstance(items, AsyncIterable) else items
    return _breakable(rows, stop)


def _breakable(rows: Iterable[Any], stop: threading.Event) -> Iterator[Any]:
    for row in rows:
        if stop.is_set():
            raise Cancelled
        yield row


def _pulled(
    items: AsyncIterable[Any], loop: asyncio.AbstractEventLoop, stop: threading.Event
) -> Iterator[Any]:
    iterator = aiter(items)

    async def following() -> tuple[Any, ...]:
        try:
            return (await anext(iterator),)
        except StopAsyncIteration:
            return ()

    while True:
        future = asyncio.run_coroutine_threadsafe(following(), loop)
        while not future.done() and not stop.is_set():
            wait([future], LOOK_S)
        if stop.is_set():
            future.cancel()
            raise Cancelled
        row = future.result()
        if not row:
            return
        yield row[0]
