"""One life of a worker process: it beats, it sweeps, and it stops claiming when it is told to end."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from batchq import checks, wiring
from batchq.broker.drops import drops
from batchq.core.discreet import trace_of
from batchq.errors import BatchqError
from batchq.flow.heal import sweep
from batchq.flow.uploads import tidy
from batchq.flow.walk import Walk
from batchq.operations import registry
from batchq.settings import Settings
from batchq.store.fleet import Beat

log = logging.getLogger("batchq")


class AtItems:
    """A `with` block around each item, so that the heartbeat can say how many there are."""

    def __init__(self) -> None:
        self._threads: set[int] = set()  # or greenlets

    @property
    def count(self) -> int:
        return len(self._threads)

    def __enter__(self) -> None:
        self._threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        self._threads.discard(threading.get_ident())


class Life:
    """Made where items run: in the worker of gevent and threads, in each child of prefork."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str,
        slots: int,
        queues: Sequence[str],
        pool: str,
        project: str,
        warnings: Sequence[str] = (),
    ) -> None:
        self.walk: Walk = wiring.build_walk(settings, slots=slots, project=project)
        self._settings = settings
        self._ended = threading.Event()
        self._server: str | None = None  # the life of the store's server that the last heartbeat saw
        self.at_an_item = AtItems()
        self._beat = Beat(
            incarnation=self.walk.incarnation,
            host=socket.gethostname(),
            pid=os.getpid(),
            slots=slots,
            queues=tuple(queues),
            pool=pool,
            version=version("batchq"),
            project=project,
            name=name,
            file_roots=tuple(str(Path(root).resolve()) for root in settings.file_roots),
            started_ms=int(time.time() * 1000),
            warnings=tuple(warnings),
            limits=settings.limits_shown(),
            operations={name: self.walk.queue(name) for name in registry.own()},
        )

    def start(self, *, beats: bool = True, sweeps: bool = True) -> None:
        """Beat once before the first item, then on a timer."""
        threading.Thread(target=self._end_calls, name="batchq grace", daemon=True).start()
        if beats:
            self._try(self._beat_once)
            self._try(self._compare_limits)
            self._every(self._settings.heartbeat_s, self._beat_once, "heartbeat")
        if sweeps:
            self._every(self._settings.sweep_s, lambda: sweep(self.walk), "sweeper")
            self._every(self._settings.heartbeat_s, self._report_drops, "dropped messages")
            self._every(self._settings.sweep_s, lambda: tidy(self.walk, self.walk.project), "uploads")

    def stop_claiming(self) -> None:
        """Nothing new is claimed; waits end. Must not block: it runs in gevent's hub."""
        self.walk.stop.set()

    def _end_calls(self) -> None:
        """Once told to stop, calls under way have `grace_s` to end."""
        self.walk.stop.wait()
        if not self._ended.wait(self._settings.grace_s):
            self.walk.calls.end_all()

    def end(self) -> None:
        """After the last item: say goodbye, so that nobody waits for a lease to end."""
        self.stop_claiming()
        self._ended.set()
        self._try(lambda: self.walk.fleet.leave(self.walk.incarnation))
        self._try(lambda: self.walk.fleet.unlock(self.walk.incarnation))

    def _beat_once(self) -> None:
        period_ms, lease_ms = int(self._settings.heartbeat_s * 1000), int(self._settings.lease_s * 1000)
        weather = self.walk.fleet.beat(
            replace(self._beat, running=self.at_an_item.count), period_ms, lease_ms
        )
        if weather.server == self._server:
            return
        if self._server is not None:
            forgotten = self.walk.ledger.disown()
            log.warning(
                "the job store is another server, or was started again; items of mine whose end it forgot, and that "
                "are called again: %d",
                forgotten,
            )
        self._server = weather.server

    def _compare_limits(self) -> None:
        alive = self.walk.fleet.alive(int(self._settings.lease_s * 1000))
        for finding in checks.limits(alive):
            log.warning("%s", finding)

    def _report_drops(self) -> None:
        drops.report(self.walk.fleet.add_dropped)

    def _every(self, pause_s: float, what: Callable[[], object], name: str) -> None:
        def run() -> None:
            fails = False
            while not self._ended.wait(pause_s):
                fails = not self._try(what, again=fails)

        threading.Thread(target=run, name=f"batchq {name}", daemon=True).start()

    @staticmethod
    def _try(what: Callable[[], object], *, again: bool = False) -> bool:
        """Whether it went well. `again`: it failed the last time too, and the log has said so."""
        try:
            what()
        except BatchqError as exc:
            log.log(logging.DEBUG if again else logging.WARNING, "%s", exc)
        except Exception as exc:
            log.error("unexpected error; it goes on: %s", trace_of(exc))
        else:
            return True
        return False


_life: Life | None = None


def begin(life: Life) -> Life:
    """Make it this process's life."""
    global _life
    _life = life
    return life


def current() -> Life:
    """This process's life. A task that runs before it has begun is a mistake in the start-up order."""
    if _life is None:
        raise RuntimeError(
            "a batchq task ran outside a batchq worker: start it with `celery -A workers worker`"
        )
    return _life
