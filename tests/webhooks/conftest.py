"""Real worker processes, and a web server that hears of their jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet_kit import client, fleet
from receiver import Receiver, receiving

__all__ = ["client", "fleet"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver
