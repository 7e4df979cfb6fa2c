"""batchq workers: who is alive, what each consumes and holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import click

from batchq.cli.options import json_option

if TYPE_CHECKING:
    from batchq.store.fleet import Beat

HEADS = ("worker", "pool", "items", "slots", "up", "version", "project", "queues")


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as Celery and Flower name it: one process that runs items, or the children of a prefork pool."""

    name: str
    host: str
    pids: tuple[int, ...]
    pool: str
    slots: int  # items it runs at once
    running: int  # items it was at when it last beat
    queues: tuple[str, ...]  # Celery queues it consumes
    project: str  # whose quota its calls count against
    version: str
    file_roots: tuple[str, ...]
    warnings: tuple[str, ...]  # of its start
    up_s: float  # from its start to its last beat


@click.command(
    "workers", epilog="\b\nExamples:\n  batchq workers\n  batchq workers --json | jq -s 'map(.slots) | add'"
)
@json_option
def workers_command(as_json: bool) -> None:
    """Show the live workers: what each consumes, how many items it runs at once and how many it is at."""
    from batchq.cli import opening, say
    from batchq.core.wording import count

    with opening.client() as client:
        workers = list(grouped(client.fleet(), client.settings.namespace))
    for worker in workers if as_json else ():
        say.json_line(asdict(worker))
    if workers and not as_json:
        say.table(HEADS, (_row(worker) for worker in workers))
    if workers:
        say.note(f"{count(len(workers), 'worker')}, {count(sum(one.slots for one in workers), 'slot')}")
    else:
        say.note("no live worker: `batchq worker` starts one")


def grouped(beats: Iterable[Beat], namespace: str) -> Iterator[Worker]:
    """The workers of these processes, by name. Two that were given the same name differ by project or pool at best."""
    for (name, host, *_), group in groupby(sorted(beats, key=_owner), key=_owner):
        processes = list(group)
        first = processes[0]
        yield Worker(
            name=name,
            host=host,
            pids=tuple(sorted(one.pid for one in processes)),
            pool=first.pool,
            slots=sum(one.slots for one in processes),
            running=sum(one.running for one in processes),
            queues=tuple(f"{namespace}.{queue}" for queue in first.queues),
            project=first.project,
            version=first.version,
            file_roots=first.file_roots,
            warnings=first.warnings,
            up_s=max(0, max(one.beat_ms - one.started_ms for one in processes)) / 1000,
        )


def _owner(beat: Beat) -> tuple[str, str, str, str]:
    return beat.name or f"celery@{beat.host}", beat.host, beat.project, beat.pool


def _row(worker: Worker) -> tuple[str, ...]:
    from batchq.core.wording import duration

    return (
        worker.name,
        worker.pool,
        f"{worker.running:,}",
        f"{worker.slots:,}",
        duration(worker.up_s),
        worker.version,
        worker.project or "—",
        " ".join(worker.queues),
    )
