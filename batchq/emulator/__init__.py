"""A local Gemini API: google-genai runs against it unchanged (GOOGLE_GEMINI_BASE_URL=its url).

What it answers is a function of what it was asked, so a mixed-up answer shows; what Gemini refuses, it
refuses in Gemini's words; quotas, latency and faults are options. It counts all it saw.

    with Emulator(EmulatorOptions(rpm=600, faults=(parse_fault("503:0.1"),))) as emulator:
        ...  # GOOGLE_GEMINI_BASE_URL=emulator.url
        assert emulator.stats()["answered"] == 40

A process of its own is `serve(...)` or `python -m batchq.emulator --port 0`. Loading this package costs
nothing; aiohttp comes with Emulator and serve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchq.core.lazily import lazily

if TYPE_CHECKING:
    from batchq.emulator.answers import (
        expected_embedding,
        expected_image,
        expected_json,
        expected_text,
        prompt_key,
    )
    from batchq.emulator.faults import Fault, parse_fault
    from batchq.emulator.limits import Limits, Window
    from batchq.emulator.options import EmulatorOptions
    from batchq.emulator.server import Emulator, serve

__all__ = [
    "Emulator",
    "EmulatorOptions",
    "Fault",
    "Limits",
    "Window",
    "expected_embedding",
    "expected_image",
    "expected_json",
    "expected_text",
    "parse_fault",
    "prompt_key",
    "serve",
]

__getattr__ = lazily(
    __name__,
    {
        "answers": ("expected_embedding", "expected_image", "expected_json", "expected_text", "prompt_key"),
        "faults": ("Fault", "parse_fault"),
        "limits": ("Limits", "Window"),
        "options": ("EmulatorOptions",),
        "server": ("Emulator", "serve"),
    },
)
