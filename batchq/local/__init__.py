"""Processes beside a command: workers and the emulator that `batchq run` starts for its own job, and ends with it."""

from batchq.local.children import LocalEmulator, LocalWorkers, celery_command, log_folder

__all__ = ["LocalEmulator", "LocalWorkers", "celery_command", "log_folder"]
