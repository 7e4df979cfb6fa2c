"""The local server that `batchq` commands and make start on demand, when no Redis is configured.

One a user (or a folder: $BATCHQ_DATA_DIR): on a unix socket only this user can open, else on 127.0.0.1, with a
random password; an append-only file keeps the data, full memory refuses writes and evicts nothing. It runs on when
the command ends, until `batchq server stop`. Nothing here is imported by workers or by a Client that is given a URL.
"""

from batchq.embedded.folder import DATA_DIR_VARIABLE, default_data_dir
from batchq.embedded.probe import EmbeddedServer
from batchq.embedded.server import running, start, status, stop

__all__ = [
    "DATA_DIR_VARIABLE",
    "EmbeddedServer",
    "default_data_dir",
    "running",
    "start",
    "status",
    "stop",
]
