"""Celery's Redis backend, counting the parts of a wave's chord by the dozen.

A header task of a wave has no result worth keeping: its outcome is in the job store. So its chord needs a number,
not a list of results, and parts that finish within a moment are counted in one call. A part that is counted twice,
because its message came twice, runs the body early: it only asks the store what is to do next.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from celery.backends import redis as stock
from celery.canvas import maybe_signature
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from batchq.core.gather import Gather
from batchq.store import sentinels

log = logging.getLogger("batchq")

WAVES = 1_000  # of which a process keeps the gathering points
KEPT_S = 3_600


class CountsWaves:
    """A mixin for Celery's Redis backends. Chords of other tasks go the stock way."""

    wave_task = ""  # name of the body that marks a chord as a wave

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waves: OrderedDict[str, Gather[Any, bool]] = OrderedDict()
        self._waves_lock = threading.Lock()

    def on_chord_part_return(
        self: Any, request: Any, state: str, result: Any, propagate: Any = None, **options: Any
    ) -> None:
        chord = request.chord
        if not request.group or not chord or chord.get("task") != self.wave_task:
            super().on_chord_part_return(request, state, result, propagate, **options)  # type: ignore[misc]
            return
        try:
            if self._wave(request.group, chord["chord_size"])(request.id):
                body: Any = maybe_signature(chord, app=self.app)
                body.apply_async()
        except (*self.connection_errors, RedisError, OperationalError) as exc:
            # Celery would fail the task and its greenlet, with two screens of traceback for each item in flight;
            # a part that is not counted costs its wave the body, and the sweeper does what the body would have done.
            log.debug("a part of wave %s is not counted: %s", request.group, exc)

    def _wave(self: Any, group: str, size: int) -> Gather[str, bool]:
        with self._waves_lock:
            found: Gather[str, bool] | None = self._waves.get(group)
            if found is None:
                found = self._waves[group] = Gather(lambda parts: self._count(group, size, parts))
                if len(self._waves) > WAVES:
                    self._waves.popitem(last=False)
            return found

    def _count(self: Any, group: str, size: int, parts: Sequence[str]) -> Sequence[bool]:
        """Whether one of these parts was the last; the first of them is told."""
        key = self.get_key_for_group(group, ".n")
        with self.client.pipeline(transaction=False) as pipe:
            pipe.incrby(key, len(parts))
            pipe.expire(key, KEPT_S)
            done, _ = pipe.execute()
        last = done - len(parts) < size <= done
        return [last] + [False] * (len(parts) - 1)


class Backend(CountsWaves, stock.RedisBackend):
    pass


class SentinelBackend(CountsWaves, stock.SentinelBackend):
    def _get_pool(self, **params: Any) -> Any:
        return super()._get_pool(connection_class=sentinels.Connection, **params)  # type: ignore[misc]
