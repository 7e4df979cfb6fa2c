"""What `batchq run` starts beside its job on this machine: local workers and an emulator, ended with it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchq.cli import ending, say
from batchq.core.wording import count
from batchq.errors import BatchqError, NotFound

if TYPE_CHECKING:
    from batchq.cli.progress import Progress
    from batchq.client import Client
    from batchq.local import LocalEmulator, LocalWorkers
    from batchq.wiring import Place

ROOTS = "BATCHQ_FILE_ROOTS"


@dataclass(slots=True)
class Around:
    """What runs beside the job on this machine, ended with it."""

    client: Client
    emulator: LocalEmulator | None = None
    workers: LocalWorkers | None = None
    roots: list[str] = field(default_factory=list)  # folders whose files the workers may read

    def check(self, client: Client, shown: Progress) -> None:
        """Raises BatchqError where the job cannot go on here."""
        if self.emulator is not None:
            self.emulator.check()
        if self.workers is not None:
            if not self.workers.all_began:
                here = socket.gethostname()
                self.workers.saw({beat.pid for beat in client.fleet() if beat.host == here})
            for told in self.workers.check():
                shown.note(told)


@contextmanager
def beside(client: Client) -> Iterator[Around]:
    """Ends workers and emulator whatever happens: gently, and at once on a second signal."""
    around = Around(client)
    try:
        yield around
    finally:
        _end(around)


def _end(around: Around) -> None:
    interrupted: BaseException | None = None
    try:
        if around.workers is not None:
            around.workers.end()
            around.workers.wait()
            _recall(around.client)
    except (KeyboardInterrupt, ending.Terminated) as again:
        interrupted = again
    with _deaf():  # a third one must not leave anything behind
        if around.workers is not None:
            around.workers.kill()
        if around.emulator is not None:
            around.emulator.end()
    if interrupted is not None:
        raise interrupted


@contextmanager
def _deaf() -> Iterator[None]:
    """Without an ear for SIGINT and SIGTERM."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _recall(client: Client) -> None:
    """What went out to our workers and was not begun is pending again, unless others are there to take it."""
    from batchq.flow.heal import recall

    with suppress(BatchqError):  # the store is away: the next sweeper does it in its time
        recall(client.walk)


def delete_uploads(client: Client, project: str | None) -> None:
    """Files that the job had uploaded go now: no worker of the project may be left to do it."""
    from batchq.flow.uploads import delete_needless

    if project is not None:
        with suppress(BatchqError):  # the provider deletes them after two days
            delete_needless(client.walk, project)


# -- local workers ------------------------------------------------------------------------------------------


def local_queues(found: Place) -> list[str]:
    from batchq import wiring

    queues = wiring.worker_queues(found.settings)
    if (
        not wiring.has_provider()
    ):  # nor an emulator, for this job asks no model: others' are not for our workers
        asking = wiring.asking_queues(found.settings)
        queues = [queue for queue in queues if queue not in asking]
    return queues


def tell_of_others(client: Client, job_id: str, queues: list[str], project: str | None) -> None:
    """On a server of several, say that our workers take their turn at others' jobs (docs/decisions/0007, 0020)."""
    others = 0
    for record in client.walk.jobs.unfinished():
        try:
            spec = client.walk.spec(record.id)
        except NotFound:
            continue  # deleted meanwhile
        others += record.id != job_id and any(
            f"{client.settings.namespace}.{client.walk.queue(lane.operation)}" in queues
            and spec.is_for(lane, project or "")
            for lane in spec.lanes
        )
    if others:
        say.note(
            f"{count(others, 'other open job')} on this server may go to any worker: these take their turn at "
            f"{'it' if others == 1 else 'them'} too"
        )


def start_workers(found: Place, around: Around, number: int, queues: list[str]) -> LocalWorkers:
    from batchq.local import LocalWorkers

    roots = [*map(str, found.settings.file_roots), *around.roots]
    environ = dict(os.environ)
    if roots:
        environ[ROOTS] = os.pathsep.join(dict.fromkeys(roots))
    holds = [around.emulator.lifeline] if around.emulator is not None else []
    workers = LocalWorkers(number, environ, queues, grace_s=found.settings.grace_s, holds=holds)
    if number:
        say.note(f"workers: {count(number, 'local worker')}, logs in {workers.logs[0].parent}")
    return workers


def begin_the_end(client: Client, workers: LocalWorkers) -> None:
    """Workers that have nothing left, no job of anybody, need none of the seconds that Celery takes to stop."""
    if next(client.walk.jobs.unfinished(), None) is not None:
        workers.end()
        return
    workers.kill()
    here, pids = socket.gethostname(), set(workers.pids)
    for beat in client.fleet():
        if beat.host == here and beat.pid in pids:
            client.walk.fleet.leave(beat.incarnation)
