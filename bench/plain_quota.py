"""Plain Celery against a quota: what its users write when a provider says 429."""

from __future__ import annotations

import os

from google.genai import errors
from plain_celery import app, gemini

RETRIES = {  # Celery's own backoff, with its jitter, without end
    "autoretry_for": (errors.APIError,),
    "retry_backoff": True,
    "retry_backoff_max": 60,
    "retry_jitter": True,
    "max_retries": None,
}


@app.task(name="plain.again", ignore_result=True, **RETRIES)
def again(model: str, prompt: str) -> None:
    gemini().models.generate_content(model=model, contents=prompt)


@app.task(name="plain.limited", ignore_result=True, rate_limit=os.environ["BENCH_RATE"], **RETRIES)
def limited(model: str, prompt: str) -> None:
    gemini().models.generate_content(model=model, contents=prompt)
