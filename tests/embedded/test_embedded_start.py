"""One server a folder: who starts it, who finds it, who may read what it keeps."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import redis
from embedded_helpers import client, crash, ended, output, python, wait_until

from batchq import embedded
from batchq.embedded import config
from batchq.embedded.folder import Folder

START = """
import sys; from pathlib import Path; from batchq import embedded
server = embedded.start(Path(sys.argv[1])); print(server.instance_id, server.pid)
"""


def test_a_server_outlives_the_process_that_started_it(data_dir: Path) -> None:
    instance_id, pid = output(python(START, data_dir)).split()

    server = embedded.running(data_dir)

    assert server is not None
    assert (server.instance_id, server.pid) == (instance_id, int(pid))
    assert client(server).set("key", "value")


def test_the_terminal_of_the_starter_cannot_reach_the_server(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    process = psutil.Process(server.pid)

    assert os.getsid(process.pid) != os.getsid(0)
    assert process.ppid() != os.getpid()  # so no zombie of ours when it dies


def test_four_processes_that_start_at_once_share_one_server(data_dir: Path) -> None:
    starters = [python(START, data_dir) for _ in range(4)]

    answers = {output(starter) for starter in starters}

    assert len(answers) == 1
    assert servers_in(data_dir) == {int(answers.pop().split()[1])}


def test_threads_that_start_at_once_share_one_server(data_dir: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        pids = set(pool.map(lambda _: embedded.start(data_dir).pid, range(8)))

    assert servers_in(data_dir) == pids


def servers_in(data_dir: Path) -> set[int]:
    return {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if f":{data_dir}/redis.sock" in " ".join(process.info["cmdline"] or [])
    }


def test_starting_again_gives_the_running_server(data_dir: Path) -> None:
    assert embedded.start(data_dir) == embedded.start(data_dir)


def test_a_server_whose_starter_died_right_after_the_launch_is_found(data_dir: Path) -> None:
    code = """
import os, sys; from pathlib import Path
from batchq.embedded import config
from batchq.embedded.folder import Folder; from batchq.embedded.launch import launch
folder = Folder(Path(sys.argv[1])); folder.create()
write, calls = Folder.write_state, []
def write_once(self, state):  # die before the pid is written down
    if calls: os._exit(0)
    calls.append(write(self, state))
Folder.write_state = write_once
launch(folder, folder.acquire(), set())
"""
    output(python(code, data_dir))
    state = Folder(data_dir).read_state()
    assert state is not None
    assert state.pid is None

    server = embedded.start(data_dir)

    assert server.instance_id == state.instance_id
    assert embedded.stop(data_dir)


def test_looking_for_a_server_starts_none_and_creates_nothing(data_dir: Path) -> None:
    assert embedded.running(data_dir) is None
    assert embedded.status(data_dir)["state"] == "stopped"
    assert embedded.stop(data_dir) is False
    assert not data_dir.exists()


def test_a_stopped_server_keeps_its_data_its_address_and_its_password(data_dir: Path) -> None:
    first = embedded.start(data_dir)
    client(first).set("key", "value")

    assert embedded.stop(data_dir) is True
    assert embedded.running(data_dir) is None
    wait_until(lambda: ended(first.pid))
    assert embedded.stop(data_dir) is False

    second = embedded.start(data_dir)
    assert client(second).get("key") == "value"
    assert second.url == first.url
    assert second.instance_id != first.instance_id


def test_the_default_folder_follows_the_variable(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHQ_DATA_DIR", str(data_dir.parent))

    server = embedded.start()

    assert Path(server.data_dir) == data_dir == embedded.default_data_dir()
    assert embedded.running() == server
    assert embedded.status()["pid"] == server.pid
    assert embedded.stop()


def test_without_the_variable_the_folder_is_in_the_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHQ_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")

    folder = embedded.default_data_dir()

    assert folder.parts[-2:] == ("batchq", "server")
    assert sys.platform == "darwin" or folder == Path("/somewhere/batchq/server")


def test_nobody_else_may_read_the_folder_or_reach_the_server(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o755)
    server = embedded.start(data_dir)
    client(server).set("key", "value")
    assert server.socket is not None

    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    inside = list(data_dir.rglob("*"))
    assert len(inside) > 6
    open_to_others = [path for path in inside if path.stat().st_mode & 0o077]
    assert open_to_others == []
    assert psutil.Process(server.pid).net_connections("inet") == []


def test_the_password_is_long_needed_and_shown_nowhere(data_dir: Path) -> None:
    server = embedded.start(data_dir)

    with pytest.raises(redis.AuthenticationError):
        client(server, password="wrong").ping()
    with pytest.raises(redis.AuthenticationError):
        client(server, password="").ping()
    assert len(server.password) >= 32
    assert server.password in server.url
    shown = [
        repr(server),
        server.shown_url,
        json.dumps(embedded.status(data_dir)),
        " ".join(psutil.Process(server.pid).cmdline()),
        Path(server.log_path).read_text(),
    ]
    assert [text for text in shown if server.password in text] == []


def test_two_folders_have_two_passwords(new_folder: Callable[[str], Path]) -> None:
    one, other = embedded.start(new_folder("a")), embedded.start(new_folder("b"))

    assert one.password != other.password
    assert one.pid != other.pid


def test_the_server_keeps_what_it_is_given_and_evicts_nothing(data_dir: Path) -> None:
    settings = client(embedded.start(data_dir)).config_get("*")

    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "aof-load-truncated": "yes",
        "save": "",
        "port": "0",
        "bind": "127.0.0.1",
        "protected-mode": "yes",
    }
    assert {name: settings[name] for name in wanted} == wanted


def test_full_memory_refuses_the_write_and_keeps_the_rest(data_dir: Path) -> None:
    connection = client(embedded.start(data_dir))
    limit = int(connection.config_get("maxmemory")["maxmemory"] or 0)
    assert limit == int(config.memory_limit() * 0.6)
    assert limit < psutil.virtual_memory().total
    connection.set("kept", "value")
    connection.config_set("maxmemory", connection.info()["used_memory"])

    with pytest.raises(redis.exceptions.OutOfMemoryError):
        connection.set("more", "x" * 100_000)
    assert connection.get("kept") == "value"


def test_the_status_tells_how_it_is(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    client(server).set("key", "value")

    status = embedded.status(data_dir)

    assert status["state"] == "running"
    assert status["url"] == f"redis+socket://{server.socket}?virtual_host=0"
    assert (status["pid"], status["version"]) == (server.pid, server.version)
    assert 0 <= status["uptime_s"] < 60
    assert 0 < status["memory"]["used"] < status["memory"]["limit"]
    assert status["aof"]["last_write"] == "ok"
    assert (status["data_dir"], status["log"]) == (server.data_dir, server.log_path)
    crash(server)
    assert embedded.status(data_dir)["state"] == "stopped"


def test_what_was_written_last_is_on_disk_when_it_has_stopped(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    connection = client(server)
    for number in range(1000):
        connection.set("number", number)
    embedded.stop(data_dir)

    appended = b"".join(path.read_bytes() for path in data_dir.glob("appendonlydir/*.incr.aof"))

    assert b"\r\n999\r\n" in appended


def test_importing_the_embedded_server_is_cheap() -> None:
    loaded = output(
        python("import sys, batchq.embedded; print(sorted({'redis', 'kombu', 'psutil'} & set(sys.modules)))")
    )

    assert loaded == "[]"


def test_a_long_log_is_put_aside(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "server.log").write_bytes(b"old line\n" * 1_200_000)

    server = embedded.start(data_dir)

    wait_until(lambda: "Server initialized" in Path(server.log_path).read_text())
    assert Path(server.log_path).stat().st_size < 100_000
    assert (data_dir / "server.log.1").stat().st_size > 10_000_000
