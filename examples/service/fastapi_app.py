"""Submit jobs and follow them from a FastAPI service.

    uvicorn --app-dir examples/service fastapi_app:app
    curl -s localhost:8000/jobs -H 'content-type: application/json' -H 'idempotency-key: order-1' \
         -d '{"items": ["Name a colour.", {"id": "two", "prompt": "Name a fruit."}]}'

The service only submits and reads; `batchq worker` processes do the work. They find each other by BATCHQ_REDIS_URL.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from batchq import AsyncClient, BatchqError, Conflict, InputError, ItemState, NotFound, StoreUnavailable

STATUS_OF = {NotFound: 404, Conflict: 409, InputError: 422, StoreUnavailable: 503}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the life of the process: it keeps its connections."""
    async with AsyncClient() as client:
        app.state.client = client
        yield


app = FastAPI(title="Jobs", lifespan=lifespan)


class Prompt(BaseModel):
    id: str
    prompt: str


class Submission(BaseModel):
    """What a caller may choose; operation, model and limits are the service's own affair.

    Prompts only: an item that names a file would have it read on this machine.
    """

    items: list[str | Prompt] = Field(min_length=1, max_length=10_000)
    metadata: dict[str, Any] = {}


def client_of(request: Request) -> AsyncClient:
    client: AsyncClient = request.app.state.client
    return client


@app.post("/jobs", status_code=202)
async def submit(
    request: Request, asked: Submission, idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, str]:
    """Store a job and start it. Repeated with the same Idempotency-Key it gives the same job."""
    items = [item if isinstance(item, str) else (item.id, item.prompt) for item in asked.items]
    job = await client_of(request).submit(items, idempotency_key=idempotency_key, metadata=asked.metadata)
    return {"id": job.id, "status": str(request.url_for("status", job_id=job.id))}


@app.get("/jobs/{job_id}")
async def status(request: Request, job_id: str) -> dict[str, Any]:
    """The job's record: state, counts, usage, cost."""
    return (await client_of(request).status(job_id)).to_json()


@app.get("/jobs/{job_id}/results")
async def results(request: Request, job_id: str, wait: bool = False) -> StreamingResponse:
    """Settled items as JSON lines, in input order; with `wait` each as its turn settles, to the last."""
    client = client_of(request)
    await client.get(job_id)  # a job that is not there is to be a 404, not a broken stream

    async def lines() -> AsyncIterator[str]:
        async for result in client.results(job_id, wait=wait):
            done = result.status is ItemState.SUCCEEDED
            line = {"id": result.id, "status": result.status, "text": result.text if done else None}
            if result.error is not None:
                line["error"] = result.error.message
            yield json.dumps(line) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@app.delete("/jobs/{job_id}", status_code=204)
async def cancel(request: Request, job_id: str) -> None:
    """Nothing more goes out; what is in flight may still settle."""
    await client_of(request).cancel(job_id)


@app.exception_handler(BatchqError)
async def refused(_: Request, error: BatchqError) -> JSONResponse:
    """batchq's errors say what to do, so they are the answer."""
    status_code = next((code for kind, code in STATUS_OF.items() if isinstance(error, kind)), 500)
    return JSONResponse({"detail": str(error)}, status_code)
