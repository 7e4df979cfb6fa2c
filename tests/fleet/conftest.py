"""Real worker processes on the suite's real server, with leases short enough to watch them end."""

from __future__ import annotations

from fleet_kit import client, fleet

__all__ = ["client", "fleet"]
