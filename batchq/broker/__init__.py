"""What batchq changes in Celery's transport and result backend: the same messages, in fewer round trips."""
