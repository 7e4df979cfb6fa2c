"""Adders and workers are killed; what was stored is in a job, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from fleet_kit import Fleet, eventually

from batchq import Client

ADDER = Path(__file__).with_name("adder.py")
PATIENCE_S = 200


@pytest.mark.fault
@pytest.mark.timeout(600)
def test_nothing_stored_is_lost_or_doubled_when_adders_and_workers_are_killed(
    fleet: Fleet, client: Client, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.touch()

    def adder(name: str, items: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ADDER), name, str(notes), str(items)]
        return subprocess.Popen(command, env=fleet.environment)

    def noted() -> list[str]:
        return notes.read_text().splitlines()

    worker = fleet.start("threads", 4)
    killed, lives = adder("killed", 100_000), adder("lives", 200)
    eventually(lambda: sum(one.startswith("killed") for one in noted()) > 60, PATIENCE_S)
    eventually(lambda: len(list(client.list())) >= 2, PATIENCE_S)
    os.killpg(worker.pid, signal.SIGKILL)  # perhaps while it makes a job of a batch
    worker.wait()
    killed.kill()
    killed.wait()
    fleet.start("threads", 4)
    assert lives.wait(PATIENCE_S) == 0
    stored = set(noted())

    def in_jobs() -> Counter[str]:
        return Counter(
            one.id for record in client.list() for one in client.walk.outcomes.results(record.id, lanes=1)
        )

    def settled() -> bool:
        time.sleep(0.2)  # the look itself is work for the server
        [view] = client.walk.collectors.views()
        return not view.waiting + view.in_batch and stored <= in_jobs().keys()

    eventually(settled, PATIENCE_S)
    found = in_jobs()
    assert max(found.values()) == 1
    assert len(found.keys() - stored) <= 1  # of the killed adder, stored and not noted
    eventually(lambda: all(record.succeeded == record.total for record in client.list()), PATIENCE_S)
