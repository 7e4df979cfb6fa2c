from __future__ import annotations

from fleet_kit import Fleet, client, fleet

__all__ = ["Fleet", "client", "fleet"]
