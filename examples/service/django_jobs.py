"""Submit jobs and show their status from a Django project.

    # urls.py
    urlpatterns = [path("jobs/", include("django_jobs"))]

POST jobs/ with {"prompts": [...]} stores a job; GET jobs/ID/ shows it. The client is made once a process, opens
nothing before its first call, and is safe in threads and in the children of a forking server. It never becomes the
project's Celery app.
"""

from __future__ import annotations

import json
from functools import cache

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from batchq import Client, InputError, NotFound, StoreUnavailable


@cache
def client() -> Client:
    return Client()


@require_POST
def submit(request: HttpRequest) -> JsonResponse:
    """Store a job and start it. Repeated with the same Idempotency-Key header it gives the same job."""
    try:
        prompts = json.loads(request.body)["prompts"]
    except (ValueError, KeyError, TypeError):
        prompts = None
    # texts only: an item that names a file would have it read on this machine
    if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
        return JsonResponse({"detail": 'send {"prompts": ["…", …]}'}, status=400)
    try:
        job = client().submit(prompts, idempotency_key=request.headers.get("Idempotency-Key"))
    except InputError as error:
        return JsonResponse({"detail": str(error)}, status=422)
    except StoreUnavailable as error:
        return JsonResponse({"detail": str(error)}, status=503)
    return JsonResponse({"id": job.id}, status=202)


@require_GET
def status(request: HttpRequest, job_id: str) -> JsonResponse:  # noqa: ARG001
    """The job's record: state, counts, usage, cost."""
    try:
        return JsonResponse(client().status(job_id).to_json())
    except NotFound as error:
        return JsonResponse({"detail": str(error)}, status=404)
    except StoreUnavailable as error:
        return JsonResponse({"detail": str(error)}, status=503)


urlpatterns = [path("", submit, name="submit"), path("<str:job_id>/", status, name="status")]
