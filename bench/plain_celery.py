"""The baseline: plain Celery with the settings that serve it best (thread-safe backend, header results ignored)."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from celery import Celery

from batchq.core.redis_url import parse

address = parse(os.environ["BATCHQ_REDIS_URL"])
app = Celery("plain", broker=address.broker_url(), backend=address.backend_url())
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=2,
    result_backend_thread_safe=True,
    result_backend_always_retry=True,
    broker_transport_options={"visibility_timeout": 600, "max_connections": 1000},
    redis_max_connections=1000,
    task_default_queue="plain",
    result_expires=3600,
)


@lru_cache(maxsize=1)
def gemini() -> Any:
    """google-genai as its own guide has it: one client."""
    from google import genai

    return genai.Client()


@app.task(name="plain.noop", ignore_result=True)
def noop(number: int) -> None:
    return None


@app.task(name="plain.ask", ignore_result=True)
def ask(model: str, prompt: str) -> None:
    gemini().models.generate_content(model=model, contents=prompt, config={"temperature": 0.2})


@app.task(name="plain.done")
def done(results: list[None]) -> int:
    return len(results)
