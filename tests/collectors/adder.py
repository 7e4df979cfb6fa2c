"""A process that adds items to a collector for as long as it lives, and notes each that is stored."""

from __future__ import annotations

import os
import sys

from batchq import Client, Item

name, notes = sys.argv[1], sys.argv[2]
handle = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
with Client() as client:
    collector = client.collector("mail", flush_items=25, flush_after_s=1, operation="work")
    for number in range(int(sys.argv[3])):
        collector.add(Item(f"{name}-{number}", {"n": number}))
        os.write(handle, f"{name}-{number}\n".encode())
