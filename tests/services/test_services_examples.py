"""The services of examples/service, driven as their callers would, with a worker and the local Gemini API behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fleet_kit import OPERATIONS, Fleet

from batchq.emulator import Emulator, EmulatorOptions, expected_text

EXAMPLES = OPERATIONS.parents[1] / "examples" / "service"


@pytest.fixture
def gemini(fleet: Fleet) -> Iterator[Emulator]:
    with Emulator(EmulatorOptions()) as emulator:
        fleet.extra |= {"GOOGLE_GEMINI_BASE_URL": emulator.url, "GEMINI_API_KEY": "test-key"}
        yield emulator


def run(fleet: Fleet, script: str) -> str:
    """What a process of the service's own prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**fleet.environment, "PYTHONPATH": str(EXAMPLES), "BATCHQ_INCLUDE": ""},
        cwd=EXAMPLES.parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FASTAPI = """
import json, warnings
warnings.simplefilter("ignore")
from fastapi.testclient import TestClient
from fastapi_app import app

with TestClient(app) as http:
    body = {"items": ["What is 1?", {"id": "two", "prompt": "What is 2?"}], "metadata": {"for": "tests"}}
    made = http.post("/jobs", json=body, headers={"Idempotency-Key": "order-1"})
    again = http.post("/jobs", json=body, headers={"Idempotency-Key": "order-1"})
    other = http.post("/jobs", json={"items": ["Other"]}, headers={"Idempotency-Key": "order-1"})
    job = made.json()["id"]
    results = http.get(f"/jobs/{job}/results", params={"wait": True})
    while (status := http.get(made.json()["status"]).json())["state"] != "completed":
        pass
    refused = [
        http.post("/jobs", json={"items": []}).status_code,
        http.post("/jobs", json={"items": [{"id": "a", "file": "/etc/passwd"}]}).status_code,
        http.get("/jobs/nobody").status_code,
        http.get("/jobs/nobody/results").status_code,
        http.delete(f"/jobs/{job}").status_code,
    ]
    print(json.dumps({
        "codes": [made.status_code, again.status_code, other.status_code], "same": made.json() == again.json(),
        "results": [json.loads(line) for line in results.text.splitlines()], "status": status, "refused": refused,
        "told": http.get("/jobs/nobody").json()["detail"],
    }))
"""


def test_a_fastapi_service_submits_follows_and_streams(fleet: Fleet, gemini: Emulator) -> None:
    fleet.start()
    seen = json.loads(run(fleet, FASTAPI))
    assert seen["codes"] == [202, 202, 409]
    assert seen["same"] is True
    assert [(line["id"], line["text"]) for line in seen["results"]] == [
        ("00000001", expected_text("What is 1?")),
        ("two", expected_text("What is 2?")),
    ]
    assert (seen["status"]["succeeded"], seen["status"]["metadata"]) == (2, {"for": "tests"})
    assert seen["refused"] == [422, 422, 404, 404, 409]
    assert "no job nobody" in seen["told"]


DJANGO = """
import json
import django
from django.conf import settings
settings.configure(ROOT_URLCONF="urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x", DEBUG=False)
django.setup()
import sys, types
from django.urls import include, path
urls = sys.modules["urls"] = types.ModuleType("urls")
urls.urlpatterns = [path("jobs/", include("django_jobs"))]
from django.test import Client

http = Client()
def post(body):
    return http.post("/jobs/", json.dumps(body), content_type="application/json", headers={"Idempotency-Key": "k"})
made = post({"prompts": ["What is 1?"]})
job = made.json()["id"]
while (status := http.get(f"/jobs/{job}/").json())["state"] != "completed":
    pass
print(json.dumps({
    "codes": [made.status_code, post({"prompts": []}).status_code, post({"prompts": [{"file": "x"}]}).status_code,
              post([]).status_code, http.get("/jobs/nobody/").status_code, http.get("/jobs/").status_code],
    "same": post({"prompts": ["What is 1?"]}).json()["id"] == job,
    "status": status,
}))
"""


def test_a_django_project_submits_and_shows_status(fleet: Fleet, gemini: Emulator) -> None:
    fleet.start()
    fleet.extra["DJANGO_SETTINGS_MODULE"] = "settings_of_the_project"
    seen = json.loads(run(fleet, DJANGO))
    assert seen["codes"] == [202, 422, 400, 400, 404, 405]
    assert seen["same"] is True
    assert (seen["status"]["succeeded"], seen["status"]["total"]) == (1, 1)
