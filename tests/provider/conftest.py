from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from faulty_server import FaultyServer, Script, Serve, serving

from batchq.providers.gemini import GeminiConfig, GeminiProvider


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server with a script, and a provider that asks it."""
    with ExitStack() as stack:

        def start(script: Script) -> tuple[FaultyServer, GeminiProvider]:
            server = stack.enter_context(serving(script))
            provider = GeminiProvider(GeminiConfig(api_key="a-key-that-is-secret", base_url=server.url))
            stack.callback(provider.close)
            return server, provider

        yield start
