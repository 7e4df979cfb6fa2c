"""What `make audit` makes of an advisory service: the real pip-audit, and a service of our own that speaks OSV's API."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).parents[2]
BUILD = (ROOT / "requirements" / "build.txt").read_text()

pytestmark = [
    pytest.mark.fault,  # for its time
    pytest.mark.skipif(
        not (ROOT / ".venv" / "audit" / "bin" / "pip-audit").exists(),
        reason="make audit has fetched no tools here",
    ),
]


class Advisories(ThreadingHTTPServer):
    """Knows one package as bad, or none, and notes which were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.bad = ""
        self.asked: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/query"


class Answer(BaseHTTPRequestHandler):
    server: Advisories
    protocol_version = "HTTP/1.1"  # one connection for all questions, else each takes its own

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        self.server.asked.add(name)
        all_versions = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}
        advisory = {
            "id": "PYSEC-2026-1",
            "details": "everything is wrong with it",
            "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "ranges": [all_versions]}],
        }
        body = json.dumps({"vulns": [advisory]} if name == self.server.bad else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    with Advisories() as service:
        Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The script beside two small locks and this checkout's tools."""
    for part in ("tools/supply", "requirements/build.txt", "requirements/audit.txt"):
        copy = tmp_path / part
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / part, copy)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def audit(project: Path, url: str) -> subprocess.CompletedProcess[str]:
    command = [project / "tools" / "supply", "audit", "-s", "osv", "--osv-url", url]
    environ = {**os.environ, "UV_OFFLINE": "1"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_it_asks_for_every_package_of_every_lock(project: Path, advisories: Advisories) -> None:
    (project / "requirements" / "build.txt").rename(project / "requirements" / "yet-another.txt")
    done = audit(project, advisories.url)
    assert done.returncode == 0, done.stderr
    assert {"pip-audit", "cyclonedx-bom", *re.findall(r"^([a-z-]+)==", BUILD, re.M)} <= advisories.asked
    assert done.stderr.count("No known vulnerabilities found") == 2


def test_a_bad_package_fails_it_whatever_the_other_locks_hold(project: Path, advisories: Advisories) -> None:
    advisories.bad = "cyclonedx-bom"  # in the first of them
    done = audit(project, advisories.url)
    assert done.returncode == 1
    assert re.search(r"^cyclonedx-bom +\S+ +PYSEC-2026-1 +999", done.stdout, re.M)
    assert "not finished" not in done.stderr
    assert "hatchling" in advisories.asked, "the second is looked at nevertheless"


def test_a_service_that_is_away_is_no_clean_bill_of_health(project: Path, advisories: Advisories) -> None:
    advisories.server_close()
    done = audit(project, advisories.url)
    assert done.returncode == 1
    assert "audit: not finished, so nothing is known: requests.exceptions.ConnectionError" in done.stderr
    assert "HTTPS_PROXY" in done.stderr
    assert "Traceback" not in done.stderr
