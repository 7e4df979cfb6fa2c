"""Other programs beside real workers, on the suite's real server."""

from __future__ import annotations

from fleet_kit import client, fleet

__all__ = ["client", "fleet"]
