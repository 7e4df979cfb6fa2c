"""Workers and clients that log in as users with batchq's access rules."""

from __future__ import annotations

from fleet_kit import SHORT, Fleet, client, eventually, fleet

__all__ = ["SHORT", "Fleet", "client", "eventually", "fleet"]
