"""One emulator and one google-genai client of each kind for the whole run, set back before each test."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from batchq.emulator import Emulator, EmulatorOptions

DEFAULTS = {
    entry.name: getattr(EmulatorOptions(), entry.name) for entry in dataclasses.fields(EmulatorOptions)
}


@pytest.fixture(scope="session")
def running() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    running.configure(**DEFAULTS)
    running.reset()
    return running


@pytest.fixture(scope="session")
def developer(running: Emulator) -> Iterator[genai.Client]:
    with genai.Client(api_key="k", http_options=types.HttpOptions(base_url=running.url)) as client:
        yield client


@pytest.fixture(scope="session")
def vertex(running: Emulator) -> Iterator[genai.Client]:
    with genai.Client(
        vertexai=True,
        project="p-1",
        location="us-central1",
        credentials=Credentials("a-fake-token"),  # type: ignore[no-untyped-call]
        http_options=types.HttpOptions(base_url=running.url),
    ) as client:
        yield client


@pytest.fixture
def gemini(emulator: Emulator, developer: genai.Client) -> genai.Client:
    return developer


@pytest.fixture(params=["developer", "vertex"])
def either(
    request: pytest.FixtureRequest, emulator: Emulator, developer: genai.Client, vertex: genai.Client
) -> genai.Client:
    return developer if request.param == "developer" else vertex
