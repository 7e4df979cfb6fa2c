"""Tests that mostly wait for processes are played side by side: each is a scene, its test tells how it went."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from cli_world import House

AT_ONCE = 5
LONGEST_S = 300  # the first test of a module waits while five scenes share the machine
_scenes: dict[str, Callable[[House], None]] = {}


def scene(play: Callable[[House], None]) -> Callable[[Stage], None]:
    """Make a function of a House a test. It runs in a thread and must not touch this process's environment."""
    name = play.__name__
    _scenes[name] = play

    def test(stage: Stage) -> None:
        stage.result(name)

    test.__name__, test.__doc__ = name, play.__doc__
    return pytest.mark.timeout(LONGEST_S)(test)


class Stage:
    """Plays the scenes of the tests that were selected, a few at once."""

    def __init__(self, selected: Collection[str], data_dir: Path, folder: Path) -> None:
        self._data_dir, self._folder = data_dir, folder
        self._environ = dict(os.environ)  # now: the fixtures of other tests change it
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._played: dict[str, Future[None]] = {
            name: self._pool.submit(self._play, name) for name in _scenes if name in selected
        }

    def result(self, name: str) -> None:
        """Wait for a scene; raises what it raised."""
        self._played[name].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _play(self, name: str) -> None:
        folder = self._folder / name[5:45]
        folder.mkdir()
        house = House(self._data_dir, folder, self._environ)
        try:
            _scenes[name](house)
        finally:
            house.clear()
