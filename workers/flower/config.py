"""Flower's options for batchq: its configuration file may import all of them from here.

What the command line or a FLOWER_ variable says goes before. Flower itself would let a configuration file override
its variables.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from tornado.options import options

from batchq.errors import ConfigurationError
from workers.flower.install import install, listening_address

__all__ = ["address", "enable_events", "max_tasks", "purge_offline_workers", "read_only", "tasks_columns"]


def _unless_told(name: str, default: Any) -> Any:
    return getattr(options, name) if f"FLOWER_{name.upper()}" in os.environ else default


install()
try:
    address = listening_address()
except ConfigurationError as exc:
    sys.exit(f"error: {exc}")

read_only = _unless_told("read_only", True)  # no buttons that stop workers or send tasks
enable_events = _unless_told("enable_events", False)  # our workers send theirs; foreign ones are left alone
max_tasks = _unless_told("max_tasks", 10_000)  # some 4 kB of memory each
purge_offline_workers = _unless_told("purge_offline_workers", 3_600)  # seconds after their last heartbeat
tasks_columns = _unless_told("tasks_columns", "name,kwargs,args,state,received,runtime,worker")
