"""Crashes, stale files, damaged data, full disks and hanging servers: healed, or told with the way out."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis
from embedded_helpers import client, crash, ended, output, python, wait_until

from batchq import embedded
from batchq.embedded.folder import Folder
from batchq.errors import ServerError


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the time after which a server counts as hanging."""
    monkeypatch.setattr("batchq.embedded.probe.ANSWER_S", 0.3)
    monkeypatch.setattr("batchq.embedded.server.ANSWER_S", 0.3)


def change_state(data_dir: Path, **changes: object) -> None:
    path = Folder(data_dir).state
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def append_only_file(data_dir: Path) -> Path:
    (path,) = data_dir.glob("appendonlydir/*.incr.aof")
    return path


def test_after_a_crash_the_next_start_has_the_data_at_the_same_address(data_dir: Path) -> None:
    first = embedded.start(data_dir)
    client(first).set("key", "value")
    wait_until(lambda: b"value" in append_only_file(data_dir).read_bytes())
    crash(first)
    assert embedded.running(data_dir) is None

    second = embedded.start(data_dir)

    assert client(second).get("key") == "value"
    assert (second.url, second.pid != first.pid) == (first.url, True)


def test_clients_of_a_crashed_server_go_on_with_the_next_one(data_dir: Path) -> None:
    first = embedded.start(data_dir)
    connection = client(first)
    connection.ping()
    crash(first)
    with pytest.raises(redis.ConnectionError):
        connection.ping()

    embedded.start(data_dir)

    assert connection.ping()


def test_a_state_file_with_the_pid_of_somebody_else_is_stale(data_dir: Path) -> None:
    crash(embedded.start(data_dir))
    change_state(data_dir, pid=os.getpid())

    assert embedded.running(data_dir) is None
    assert embedded.stop(data_dir) is False  # and this process lives
    assert embedded.start(data_dir).pid != os.getpid()


def test_another_server_in_the_place_of_ours_is_not_taken_for_it(
    data_dir: Path, new_folder: Callable[[str], Path]
) -> None:
    foreign = embedded.start(new_folder("foreign"))
    crash(embedded.start(data_dir))
    change_state(data_dir, socket=foreign.socket, password=foreign.password, pid=foreign.pid)

    assert embedded.running(data_dir) is None
    assert embedded.stop(data_dir) is False
    ours = embedded.start(data_dir)
    assert ours.pid != foreign.pid
    assert client(foreign).ping()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "\x00\x00"])
def test_a_damaged_state_file_is_replaced(data_dir: Path, content: str) -> None:
    first = embedded.start(data_dir)
    client(first).set("key", "value")
    embedded.stop(data_dir)
    Folder(data_dir).state.write_text(content)

    assert embedded.running(data_dir) is None
    assert client(embedded.start(data_dir)).get("key") == "value"


def test_a_last_command_cut_short_by_a_crash_costs_that_command_only(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    client(server).set("kept", "value")
    client(server).set("last", "value")
    embedded.stop(data_dir)
    os.truncate(append_only_file(data_dir), append_only_file(data_dir).stat().st_size - 4)

    connection = client(embedded.start(data_dir))

    assert connection.get("kept") == "value"
    assert connection.get("last") is None


def test_damaged_data_is_told_with_a_command_that_saves_what_can_be_saved(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    client(server).set("kept", "value")
    for number in range(100):
        client(server).set("damaged", number)
    embedded.stop(data_dir)
    path = append_only_file(data_dir)
    content = path.read_bytes()
    place = content.index(b"*3", content.index(b"damaged"))
    path.write_bytes(content[:place] + b"!" * 200 + content[place + 200 :])

    with pytest.raises(ServerError, match="Bad file format reading the append only file") as error:
        embedded.start(data_dir)

    assert "the data is damaged" in str(error.value)
    command = re.search(r"^ +(bash -c .*)$", str(error.value), re.MULTILINE)
    assert command is not None
    repair = subprocess.run(command[1], shell=True, input="y\n", capture_output=True, text=True, check=False)
    assert repair.returncode == 0, repair.stdout
    assert client(embedded.start(data_dir)).get("kept") == "value"


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_data_that_another_server_wrote_is_not_called_damaged(data_dir: Path, attempt: str) -> None:
    """Valkey's files look damaged to Redis; here the damage is real and the other server is only on record."""
    embedded.start(data_dir)
    embedded.stop(data_dir)
    append_only_file(data_dir).write_bytes(b"no commands at all\r\n")
    change_state(data_dir, version="Valkey 99.0.0")
    if attempt == "second":
        with pytest.raises(ServerError):
            embedded.start(data_dir)

    with pytest.raises(ServerError, match=r"written by Valkey 99\.0\.0, .* cannot read it") as error:
        embedded.start(data_dir)
    assert "damaged" not in str(error.value)


def test_every_one_of_several_starters_is_told_why_it_fails(data_dir: Path) -> None:
    embedded.start(data_dir)
    embedded.stop(data_dir)
    append_only_file(data_dir).write_bytes(b"no commands at all\r\n")
    code = (
        "import sys; from pathlib import Path; from batchq import embedded; embedded.start(Path(sys.argv[1]))"
    )

    starters = [python(code, data_dir) for _ in range(3)]

    for starter in starters:
        _, err = starter.communicate(timeout=30)
        assert "the data is damaged" in err


@pytest.fixture
def slow_to_load(data_dir: Path) -> Path:
    """A folder whose data takes a server a second or more to load."""
    embedded.start(data_dir)
    embedded.stop(data_dir)
    with append_only_file(data_dir).open("ab") as file:
        for _ in range(100):
            file.write(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n" * 20_000)
    return data_dir


def test_starters_wait_until_the_data_is_loaded_however_long(slow_to_load: Path) -> None:
    before = time.monotonic()
    first = threading.Thread(target=embedded.start, args=[slow_to_load], kwargs={"timeout_s": 0.4})
    first.start()
    wait_until(lambda: embedded.status(slow_to_load)["state"] == "loading")
    assert embedded.running(slow_to_load) is not None

    server = embedded.start(slow_to_load, timeout_s=0.4)

    assert client(server).get("key") == "value"
    assert time.monotonic() - before > 0.4, "it loaded too fast to show anything"
    first.join()


def test_a_server_that_loads_can_be_stopped(slow_to_load: Path) -> None:
    starter = python(
        "import sys; from pathlib import Path; from batchq import embedded; embedded.start(Path(sys.argv[1]))",
        slow_to_load,
    )
    wait_until(lambda: embedded.status(slow_to_load)["state"] == "loading")

    assert embedded.stop(slow_to_load)
    starter.communicate(timeout=30)


def test_a_starter_whose_server_was_stopped_before_it_looked_starts_another(slow_to_load: Path) -> None:
    code = """
import sys; from pathlib import Path; from batchq import embedded
print(embedded.start(Path(sys.argv[1]), timeout_s=60).pid)  # it stands still for a part of that
"""
    starter = python(code, slow_to_load)
    wait_until(lambda: embedded.status(slow_to_load)["state"] == "loading")
    starter.send_signal(signal.SIGSTOP)
    wait_until(lambda: embedded.status(slow_to_load)["state"] == "running")
    embedded.stop(slow_to_load)
    starter.send_signal(signal.SIGCONT)

    pid = int(output(starter))

    server = embedded.running(slow_to_load)
    assert server is not None
    assert server.pid == pid


# A launcher with a limit on file sizes: what a full disk does to writes, without a disk to fill.
LIMITED = """
import resource, sys; from pathlib import Path; from batchq import embedded
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
print(embedded.start(Path(sys.argv[1])).pid)
"""


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can lift another process's limit")
def test_a_disk_that_fills_up_refuses_writes_until_there_is_room(data_dir: Path) -> None:
    pid = int(output(python(LIMITED, data_dir, 200_000)))
    server = embedded.running(data_dir)
    assert server is not None
    connection = client(server)
    connection.set("kept", "value")

    def refused() -> bool:
        try:
            connection.set("more", "x" * 50_000)
        except redis.ResponseError as exc:
            return "MISCONF" in str(exc)
        return False

    wait_until(refused)
    assert embedded.status(data_dir)["state"] == "refusing writes"
    with pytest.raises(ServerError, match=r"(?s)cannot write its append-only file.*free some space"):
        embedded.start(data_dir)
    assert connection.get("kept") == "value"

    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    assert embedded.start(data_dir).pid == pid
    assert connection.set("more", "value")
    assert embedded.status(data_dir)["state"] == "running"


def test_a_disk_that_is_full_from_the_start_is_told(data_dir: Path) -> None:
    starter = python(LIMITED, data_dir, 0)
    _, err = starter.communicate(timeout=30)

    assert starter.returncode == 1
    assert "ServerError" in err.splitlines()[-1]
    assert "Free some space there, or set BATCHQ_DATA_DIR" in err.splitlines()[-1]
    assert embedded.start(data_dir)  # nothing was left behind that hinders


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
@pytest.mark.skipif(
    os.getuid() != 0, reason="needs root to mount a tmpfs; the file size limit shows the same"
)
def test_a_start_on_a_disk_with_no_room_for_the_data_is_told(data_dir: Path) -> None:
    data_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", data_dir], check=True)
    try:
        embedded.start(data_dir)
        embedded.stop(data_dir)
        shutil.rmtree(data_dir / "appendonlydir")
        ballast = data_dir / "ballast"
        fill_disk(ballast)
        os.truncate(
            ballast, ballast.stat().st_size - 4096
        )  # a page: the configuration fits, the data does not

        with pytest.raises(ServerError, match=r"(?i)free some space") as error:
            embedded.start(data_dir)
        assert str(data_dir) in str(error.value)

        ballast.unlink()
        assert client(embedded.start(data_dir)).set("key", "value")
    finally:
        embedded.stop(data_dir)
        subprocess.run(["umount", data_dir], check=True)


def fill_disk(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # ENOSPC
        while True:
            file.write(b"x" * 4096)


def test_a_folder_that_cannot_be_made_is_told(data_dir: Path) -> None:
    data_dir.write_text("a file")

    with pytest.raises(ServerError, match="BATCHQ_DATA_DIR"):
        embedded.start(data_dir / "server")
    with pytest.raises(ServerError, match="cannot be used"):
        embedded.start(data_dir)


def test_a_folder_of_another_user_is_told(data_dir: Path) -> None:
    """As root the launcher becomes nobody; any other user takes the right to write away from itself."""
    data_dir.mkdir(mode=0o500)
    code = """
import os, sys; from pathlib import Path; from batchq import embedded; import batchq.embedded.binary
from batchq.errors import ServerError
if os.getuid() == 0: os.setgid(65534); os.setuid(65534)
try: embedded.start(Path(sys.argv[1]) / "server")
except ServerError as exc: print(exc)
"""
    told = output(python(code, data_dir))

    assert "Permission denied" in told
    assert "set BATCHQ_DATA_DIR to another folder" in told


def test_a_server_that_hangs_is_told_and_stops_when_it_wakes(data_dir: Path, impatient: None) -> None:
    server = embedded.start(data_dir)
    process = psutil.Process(server.pid)
    process.suspend()
    try:
        with pytest.raises(
            ServerError, match=rf"process {server.pid} .*has not answered for .*kill -9 {server.pid}"
        ):
            embedded.running(data_dir)
        with pytest.raises(ServerError, match="has not answered"):
            embedded.stop(data_dir, timeout_s=0.1)
    finally:
        process.resume()

    wait_until(lambda: ended(server.pid))  # the signal waited for it
    assert embedded.running(data_dir) is None


def test_a_server_whose_socket_was_deleted_can_be_stopped(data_dir: Path, impatient: None) -> None:
    server = embedded.start(data_dir)
    client(server).set("key", "value")
    assert server.socket is not None
    Path(server.socket).unlink()
    assert embedded.status(data_dir)["state"] == "hanging"

    assert embedded.stop(data_dir) is True

    assert client(embedded.start(data_dir)).get("key") == "value"


def test_stopping_never_signals_a_process_that_is_not_the_server(data_dir: Path, impatient: None) -> None:
    server = embedded.start(data_dir)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        change_state(data_dir, pid=bystander.pid)
        psutil.Process(server.pid).suspend()
        with pytest.raises(ServerError, match="has not answered"):
            embedded.stop(data_dir, timeout_s=0.1)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        change_state(data_dir, pid=server.pid)
        os.kill(server.pid, signal.SIGCONT)
