"""Destinations of real kinds, and workers that write to them."""

from __future__ import annotations

from fleet_kit import Fleet, client, fleet
from places import place, postgres_url

__all__ = ["Fleet", "client", "fleet", "place", "postgres_url"]
