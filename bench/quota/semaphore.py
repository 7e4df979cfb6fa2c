"""One asyncio process with a semaphore and retries: python -m bench.quota.semaphore CALLS SLOTS."""

from __future__ import annotations

import asyncio
import random
import sys

from google import genai
from google.genai import errors

from bench.stage import MODEL


async def main() -> None:
    calls, slots = int(sys.argv[1]), asyncio.Semaphore(int(sys.argv[2]))
    client = genai.Client().aio

    async def ask(number: int) -> None:
        for attempt in range(1_000):
            async with slots:
                try:
                    await client.models.generate_content(model=MODEL, contents=f"Question {number}")
                except errors.APIError:
                    pass
                else:
                    return
            await asyncio.sleep(random.uniform(0, min(60, 2**attempt)))

    await asyncio.gather(*(ask(number) for number in range(calls)))


asyncio.run(main())
