"""`celery -A workers worker`: batchq's workers. `app` is what Celery looks for."""

from workers.app import app

__all__ = ["app"]
