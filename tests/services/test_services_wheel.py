"""The built wheel in a folder of its own, beside somebody else's ./workers."""

from __future__ import annotations

import os
import signal
import site
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fleet_kit import OPERATIONS, SHORT, eventually

from batchq import Client, JobState
from batchq.embedded import EmbeddedServer
from batchq.emulator import Emulator, EmulatorOptions, expected_text
from batchq.settings import Settings
from batchq.store.database import Database
from batchq.wiring import Place

ROOT = OPERATIONS.parents[1]
FOREIGN = """
open("foreign-workers-imported", "w").close()
raise SystemExit("somebody else's workers")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel in it, which sees the libraries of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("batchq-*.whl")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    uv = Path(sys.executable).parent / "uv"
    install = [str(uv), "pip", "install", "--offline", "--no-deps", "--python", str(venv / "bin" / "python")]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    (packages,) = (venv / "lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return venv / "bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a package of the same name as ours."""
    foreign = tmp_path / "here" / "workers"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text(FOREIGN)
    return tmp_path / "here"


@contextmanager
def started(folder: Path, *command: str | Path, **environ: str) -> Iterator[Path]:
    """A process that runs meanwhile; its log."""
    log = folder / f"{Path(command[0]).name}-{command[1]}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environ},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_wheel_gives_command_line_worker_and_flower_from_any_folder(
    installed: Path, folder: Path, server: EmbeddedServer, database: Database
) -> None:
    where = [installed / "python", "-P", "-c", "import batchq, workers.flower; print(batchq.__file__)"]
    environ = {**os.environ, "BATCHQ_REDIS_URL": server.url}
    found = subprocess.run(where, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(installed.parent)), "not the checkout's"
    helped = subprocess.run(
        [installed / "batchq", "--help"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "Run a Celery worker of the fleet." in helped.stdout

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = {
        "BATCHQ_REDIS_URL": server.url,
        **{f"BATCHQ_{name.upper()}": str(value) for name, value in SHORT.items()},
    }
    with Emulator(EmulatorOptions()) as emulator, Client(place=_place(server)) as client:
        gemini = {"GOOGLE_GEMINI_BASE_URL": emulator.url}
        with (
            started(folder, installed / "batchq", "worker", "-c", "5", **here, **gemini) as log,
            started(folder, installed / "batchq", "flower", f"--port={port}", "--address=127.0.0.1", **here),
        ):
            job = client.submit(["What is 1?", "What is 2?"], preflight=False)
            assert job.wait(30).state is JobState.COMPLETED, log.read_text()
            assert [result.text for result in job.results()] == [
                expected_text("What is 1?"),
                expected_text("What is 2?"),
            ]
            eventually(lambda: job.id in _page(f"http://127.0.0.1:{port}/jobs/data") or None)
    assert not (folder / "foreign-workers-imported").exists()


def _place(server: EmbeddedServer) -> Place:
    return Place(Settings(redis_url=server.url, **SHORT), embedded=True)


def _page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""
