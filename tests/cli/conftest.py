"""The command line as a user has it: real processes, one embedded server for all, a namespace for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import House, Terminal
from scenes import Stage

from batchq import embedded


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bq-cli-"))  # short: the path of a socket is limited
    yield folder
    embedded.stop(folder / "server")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stage(
    request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    selected = {item.name for item in request.session.items}
    stage = Stage(selected, data_dir, tmp_path_factory.mktemp("scenes"))
    yield stage
    stage.close()


@pytest.fixture
def house(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House(data_dir, tmp_path)
    for name, value in house.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(house.folder)
    yield house
    house.clear()


@pytest.fixture
def batchq(house: House, capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capfd)
