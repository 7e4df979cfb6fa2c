"""Real worker processes that send texts by the hundred to the local Gemini API."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fleet_kit import Fleet, client, fleet

from batchq.emulator import Emulator, EmulatorOptions

__all__ = ["client", "fleet"]

MODELS = ("gemini-embedding-001", "gemini-embedding-2")


@pytest.fixture
def gemini(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Its models' quotas are known and wide, so that no test waits for one to be learnt."""
    with Emulator(EmulatorOptions(directives=True)) as emulator:
        quotas = {model: {"requests_per_minute": 1_000_000} for model in MODELS}
        fleet.extra |= {
            "GOOGLE_GEMINI_BASE_URL": emulator.url,
            "GEMINI_API_KEY": "test-key",
            "BATCHQ_PROJECT": "test",
            "BATCHQ_QUOTAS": json.dumps(quotas),
            "BATCHQ_OPERATIONS__EMBED__MAX_ATTEMPTS": "3",
        }
        yield emulator
