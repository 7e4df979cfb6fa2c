"""What no log of a worker may show."""

from __future__ import annotations

import os

from batchq.core.redis_url import parse
from batchq.settings import Settings

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
SHORTEST = 6  # a shorter secret would mask half of every line


def secrets_of(settings: Settings) -> frozenset[str]:
    """What no log may show: the provider's keys and the passwords of the servers."""
    urls = [settings.redis_url, settings.broker_url, settings.result_backend]
    places = [parse(url) for url in urls if url and url != "embedded"]
    found = [os.environ.get(name, "").strip() for name in KEYS]
    for place in places:
        found += [place.password or "", place.sentinel_password or ""]
    return frozenset(secret for secret in found if len(secret) >= SHORTEST)
