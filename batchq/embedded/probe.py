"""Is this folder's server there? An authenticated answer with the right instance id, or it is not ours."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from batchq.embedded.config import TITLE, title
from batchq.embedded.folder import Folder, State

if TYPE_CHECKING:
    import redis

ANSWER_S = 2.0  # a server on this machine that takes longer to answer hangs


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server. The same folder keeps its password and, while it is free, its address over restarts."""

    url: str = field(repr=False)  # with the password
    socket: str | None  # absolute path; None: it listens on `port` of 127.0.0.1
    port: int | None  # None: it listens on `socket`
    password: str = field(repr=False)
    pid: int
    instance_id: str  # new at each start
    data_dir: str
    log_path: str
    version: str  # "Valkey 9.1.2"
    binary: str

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return _url(self.socket, self.port, "")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A server that answered, and how it is."""

    server: EmbeddedServer
    info: dict[str, Any] = field(repr=False)  # Redis' INFO

    @property
    def loading(self) -> bool:
        """It still reads its data and answers commands with LOADING."""
        return bool(self.info["loading"])

    @property
    def loaded_bytes(self) -> int:
        return int(self.info.get("loading_loaded_bytes", 0))

    @property
    def writes(self) -> bool:
        """False: it refuses writes, because the last one to the append-only file failed (MISCONF)."""
        return self.loading or self.info.get("aof_last_write_status", "ok") == "ok"


def look(folder: Folder) -> Sighting | None:
    """The folder's server if it answers within ANSWER_S; None if there is none, or another one in its place."""
    state = folder.read_state()
    if state is None or not _worth_asking(folder, state):
        return None
    import redis

    try:
        with connect(state) as client, client.pipeline(transaction=False) as pipe:
            settings, info = pipe.config_get(TITLE).info().execute()
    except (redis.RedisError, OSError):
        return None
    if settings.get(TITLE) != title(state.instance_id):
        return None
    return Sighting(_server(folder, state, int(info["process_id"])), info)


def connect(state: State | EmbeddedServer) -> redis.Redis:
    """A client that neither waits long nor tries again."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    place: dict[str, Any] = (
        {"unix_socket_path": state.socket}
        if state.socket
        else {"host": "127.0.0.1", "port": state.port, "socket_connect_timeout": ANSWER_S}
    )
    return redis.Redis(
        **place,
        password=state.password,
        socket_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def _worth_asking(folder: Folder, state: State) -> bool:
    """Can it be ours that listens there? Else somebody else would be told the password.

    Only this user can have put a socket into the folders we use. A port may be anybody's.
    """
    if state.socket:
        return os.path.exists(state.socket)  # noqa: PTH110 - plain string
    return folder.locked() and _listens(state)


def _listens(state: State) -> bool:
    """Does our server have the port? Not when it died, or when somebody was faster and it is about to end."""
    import psutil

    if state.pid is None:  # its starter was killed just then; nobody wrote down the pid
        return True
    try:
        return any(
            found.status == psutil.CONN_LISTEN and found.laddr.port == state.port
            for found in psutil.Process(state.pid).net_connections("inet")
        )
    except psutil.Error:
        return False


def _server(folder: Folder, state: State, pid: int) -> EmbeddedServer:
    return EmbeddedServer(
        url=_url(state.socket, state.port, f":{state.password}@"),
        socket=state.socket,
        port=state.port,
        password=state.password,
        pid=pid,
        instance_id=state.instance_id,
        data_dir=str(folder.path),
        log_path=str(folder.log),
        version=state.version,
        binary=state.binary,
    )


def _url(socket: str | None, port: int | None, login: str) -> str:
    if socket:
        return f"redis+socket://{login}{quote(socket)}?virtual_host=0"
    return f"redis://{login}127.0.0.1:{port}/0"
