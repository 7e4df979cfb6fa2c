"""The files in deploy/ and the pages about them name only what there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from flower import options as flower_options
from flower_world import ROOT

from batchq.settings import OTHER_VARIABLES, Settings, load

FILES = [
    *sorted(path for path in (ROOT / "deploy").iterdir() if path.is_file()),
    ROOT / "docs" / "flower.md",
    ROOT / "docs" / "operations.md",
]
READ_BY_FLOWER_ITSELF = {"FLOWER_UNAUTHENTICATED_API"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_one_that_is_read(path: Path) -> None:
    text = path.read_text()
    settings = {f"BATCHQ_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    assert set(re.findall(r"\bBATCHQ_[A-Z_]+\b", text)) <= settings
    flowers = {f"FLOWER_{name.upper()}" for name in flower_options.options.as_dict()}
    assert set(re.findall(r"\bFLOWER_[A-Z0-9_]+\b", text)) - {"FLOWER_"} <= flowers | READ_BY_FLOWER_ITSELF


def test_the_environment_file_is_one_that_the_settings_take(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / "deploy" / "batchq.env.example").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    for name, value in pairs:
        monkeypatch.setenv(name, value)
    assert load().redis_url == "redis://:change-me@127.0.0.1:6379/0"


@pytest.mark.parametrize("name", ["batchq-worker@.service", "batchq-flower.service"])
def test_units_leave_calls_under_way_time_to_end(name: str) -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "deploy" / name)
    service = unit["Service"]
    assert service["ExecStart"].startswith("/opt/batchq/bin/batchq ")
    assert service["NoNewPrivileges"] == "yes"
    if "worker" in name:
        assert int(service["TimeoutStopSec"]) > load().operation("generate").timeout_s
        assert service["KillMode"] == "mixed", "SIGTERM for the worker, not for its children"
        grace = re.search(
            r"worker:.*?stop_grace_period: (\d+)s", (ROOT / "deploy" / "compose.yaml").read_text(), re.S
        )
        assert grace is not None
        assert int(grace.group(1)) > load().operation("generate").timeout_s


@pytest.mark.parametrize("name", ["batchq-worker@.service", "batchq-flower.service"])
def test_units_are_what_systemd_takes_and_shut_in(name: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    text = (ROOT / "deploy" / name).read_text()
    unit = tmp_path / name.replace("@", "@one")
    unit.write_text(text.replace("/opt/batchq/bin/batchq", sys.executable))  # which is there
    for check in (["verify", "--recursive-errors=yes"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run([program, *check, unit], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_composition_asks_for_every_secret_and_is_whole_with_them(tmp_path: Path) -> None:
    file = ROOT / "deploy" / "compose.yaml"
    secrets = dict.fromkeys(("REDIS_PASSWORD", "GEMINI_API_KEY", "FLOWER_BASIC_AUTH"), "me:secret")
    asked = re.findall(r"(?<!\$)\$\{(\w+):\?", file.read_text())
    assert set(asked) == secrets.keys()
    assert len(asked) == len(re.findall(r"(?<!\$)\$\{", file.read_text())), "none has a default"
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose here")
    done = subprocess.run(
        [program, "-f", file, "config", "-q"],
        env={"PATH": os.environ["PATH"], **secrets},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_locks_hold_everything_by_its_hash() -> None:
    for lock in (ROOT / "requirements").iterdir():
        after = re.findall(r"^[a-z0-9.-]+(?:\[[^]]+\])?==[^\n]*\n(.*)", lock.read_text(), re.M)
        assert after
        assert all(re.match(r" +--hash=sha256:[0-9a-f]{64}", line) for line in after), lock.name
