"""Real worker processes that send documents to the local Gemini API, its Files API included."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fleet_kit import Fleet, client, fleet

from batchq.emulator import Emulator, EmulatorOptions

__all__ = ["client", "fleet"]

MODEL = "gemini-2.5-flash-lite"


@pytest.fixture
def gemini(fleet: Fleet) -> Iterator[Emulator]:
    """Its quota is known and wide, so that no test waits for one to be learnt."""
    with Emulator(EmulatorOptions(directives=True)) as emulator:
        fleet.extra |= {
            "GOOGLE_GEMINI_BASE_URL": emulator.url,
            "GEMINI_API_KEY": "test-key",
            "BATCHQ_PROJECT": "test",
            "BATCHQ_QUOTAS": json.dumps({MODEL: {"requests_per_minute": 1_000_000}}),
        }
        yield emulator
