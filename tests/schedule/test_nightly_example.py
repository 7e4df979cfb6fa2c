"""examples/nightly: the timer's units are what systemd takes, its script submits, and beat's entry makes one job a night."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client
from batchq.core.redis_url import parse
from batchq.embedded import EmbeddedServer
from batchq.emulator import Emulator
from batchq.store.database import Database

NIGHTLY = Path(__file__).parents[2] / "examples" / "nightly"


def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    for name in ("batchq-nightly.service", "batchq-nightly.timer"):
        text = (NIGHTLY / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/batchq/examples/nightly/nightly.sh", "/bin/true"))
    units = [str(tmp_path / "batchq-nightly.service"), str(tmp_path / "batchq-nightly.timer")]
    done = subprocess.run(
        [program, "verify", "--recursive-errors=yes", *units], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    timer = dict(
        line.split("=", 1)
        for line in (NIGHTLY / "batchq-nightly.timer").read_text().splitlines()
        if "=" in line
    )
    done = subprocess.run(
        [program, "calendar", timer["OnCalendar"]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "02:00:00" in done.stdout


def test_the_timers_script_submits_the_nights_list_once(
    server: EmbeddedServer, database: Database, tmp_path: Path
) -> None:
    given = {
        "INPUT": str(NIGHTLY / "questions.csv"),
        "OUT": f"file://{tmp_path}/answers.jsonl",
        "BATCHQ_REDIS_URL": server.url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    ids = []
    for _ in range(2):
        done = subprocess.run(
            [NIGHTLY / "nightly.sh"], env={**os.environ, **given}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        ids.append(done.stdout.strip())
    assert ids[0] == ids[1]
    with Client(server.url) as client:
        record = client.status(ids[0])
    assert (record.total, record.all_or_nothing) == (3, True)
    assert record.destination is not None
    assert record.destination["url"] == given["OUT"]


@pytest.fixture
def beat(server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("BROKER", parse(server.url).broker_url())
    monkeypatch.setenv("INPUT", str(NIGHTLY / "questions.csv"))
    monkeypatch.setenv("OUT", "s3://answers/tonight.jsonl")
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("nightly_beat", NIGHTLY / "beat.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_beats_entry_makes_one_job_a_night(
    beat: ModuleType, fleet: Fleet, client: Client, tmp_path: Path
) -> None:
    store, control = client.walk.jobs._db, client.walk.settings.control_queue
    with Emulator() as emulator:
        fleet.extra |= {
            "BATCHQ_FILE_ROOTS": str(NIGHTLY),
            "BATCHQ_DESTINATIONS": "s3://answers/",
            "GOOGLE_GEMINI_BASE_URL": emulator.url,
            "GEMINI_API_KEY": "test-key",
        }
        fleet.start()
        scheduler = beat.Nightly(beat.app, schedule_filename=str(tmp_path / "schedule"))
        entry = scheduler.schedule["questions"]
        for _ in range(2):  # beat on two machines
            scheduler.apply_async(entry, advance=False)
        eventually(lambda: list(client.list()) and not store.command("LLEN", control), 150)
        scheduler.close()
        fleet.stop()
    [record] = client.list()
    assert (record.total, record.all_or_nothing) == (3, True)
    assert record.destination is not None
    assert record.destination["url"] == "s3://answers/tonight.jsonl"
