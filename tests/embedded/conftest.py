"""Real servers in short temp folders (socket paths are limited to about a hundred bytes), ended after each test."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from embedded_helpers import wait_until

from batchq.embedded.folder import Folder


@pytest.fixture(autouse=True)
def _no_server_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is broken, no test starts a server in the user's own folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.fixture
def new_folder() -> Iterator[Callable[[str], Path]]:
    """Makes names of folders that do not exist yet; servers in them are ended at last."""
    base = Path(tempfile.mkdtemp(prefix="bq-"))
    made: list[Path] = []

    def make(name: str) -> Path:
        made.append(base / name)
        return made[-1]

    yield make
    for path in made:
        _end(path)
    shutil.rmtree(base)


@pytest.fixture
def data_dir(new_folder: Callable[[str], Path]) -> Path:
    return new_folder("server")


def _end(path: Path) -> None:
    state = Folder.at(path).read_state() if path.is_dir() else None
    if state is None or state.pid is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(state.pid)
        if state.instance_id in " ".join(process.cmdline()):
            process.kill()
            wait_until(lambda: not Folder.at(path).locked())
