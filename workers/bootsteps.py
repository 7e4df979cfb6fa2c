"""What a worker does beside running tasks: it beats, it sweeps, it stops claiming at its shutdown."""

from __future__ import annotations

import gc
from typing import Any

from celery import bootsteps
from celery.signals import (
    worker_process_init,
    worker_process_shutdown,
    worker_shutdown,
    worker_shutting_down,
)

from batchq import wiring
from workers import life
from workers.place import place
from workers.start import pool_name, refuse_or_warn

PREFORK = "prefork"


class Heart(bootsteps.StartStopStep):
    """Begins the life of this worker once its pool stands, before it consumes."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._life: life.Life | None = None

    def create(self, parent: Any) -> None:
        warnings = refuse_or_warn(parent, place.settings)
        pool = pool_name(parent)
        queues = _queues(parent, place.settings.namespace)
        options: dict[str, Any] = {
            "name": parent.hostname,
            "queues": queues,
            "pool": pool,
            "project": wiring.own_project(place.settings),
            "warnings": warnings,
        }
        if pool == PREFORK:
            worker_process_init.connect(_child_begins(options), weak=False)
        slots = 0 if pool == PREFORK else parent.concurrency
        self._life = life.begin(life.Life(place.settings, slots=slots, **options))
        worker_shutting_down.connect(_stop_claiming, weak=False)

    def start(self, parent: Any) -> None:
        assert self._life is not None
        # on prefork the children run the items, so they beat; sweeping is the parent's
        self._life.start(beats=pool_name(parent) != PREFORK)

    def stop(self, parent: Any) -> None:  # noqa: ARG002
        """Before the pool drains: nothing new is claimed. Beats go on until the last call has ended."""
        if self._life is not None:
            self._life.stop_claiming()

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


@worker_shutdown.connect
def _end(**_: Any) -> None:
    life.current().end()
    gc.freeze()  # the interpreter's last collection would look through every object there is: half a second


def _stop_claiming(**_: Any) -> None:
    life.current().stop_claiming()


def _child_begins(options: dict[str, Any]) -> Any:
    def begin(**_: Any) -> None:
        life.begin(life.Life(place.settings, slots=1, **options)).start(sweeps=False)

    return begin


@worker_process_shutdown.connect
def _child_ends(**_: Any) -> None:
    life.current().end()


def _queues(worker: Any, namespace: str) -> tuple[str, ...]:
    names = worker.app.amqp.queues.consume_from
    return tuple(name.removeprefix(f"{namespace}.") for name in names)
