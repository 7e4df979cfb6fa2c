"""Loaded in a worker: its item messages are acknowledged when they are taken up, not when their item is through."""

from __future__ import annotations

from typing import Any

from celery.signals import worker_ready


@worker_ready.connect
def acknowledge_early(sender: Any, **_: Any) -> None:
    sender.app.tasks["batchq.process_item"].acks_late = False
