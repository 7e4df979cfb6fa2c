"""A file at an address, brought by a process of its own: `python -P -m batchq.formats.fetch`, address on its input.

The drivers run an event loop in a thread of theirs. Where gevent has made greenlets of threads that loop stands in
everybody's way, so what reads addresses in a worker reads them apart.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from typing import BinaryIO, cast

from batchq.errors import InputError
from batchq.formats.addresses import masked
from batchq.formats.remote import Remote
from batchq.formats.words import shown

LONGEST_S = 300  # below the time after which the broker gives the message out again
_BUFFER = 2**20


def fetched(address: str) -> BinaryIO:
    """The file, whole, in a temporary one that has no name. Raises InputError."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # who reads it closes it
    try:
        # by its input: an address may hold a key, and arguments stand in the list of processes
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=address.encode(),
            stdout=file,
            stderr=subprocess.PIPE,
            timeout=LONGEST_S,
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise InputError(said[-1] if said else f"{shown(masked(address))} cannot be read")
    except subprocess.TimeoutExpired:
        file.close()
        raise InputError(f"{shown(masked(address))} did not come within {LONGEST_S} s") from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast(BinaryIO, file)


def main() -> int:
    address = sys.stdin.read()
    try:
        with Remote(address).opened() as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer, _BUFFER)
    except (InputError, OSError) as exc:
        sys.stderr.write(str(exc) if isinstance(exc, InputError) else f"{shown(masked(address))}: {exc}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
