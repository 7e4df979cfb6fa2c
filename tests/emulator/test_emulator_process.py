"""An emulator as a process of its own: one line when it is ready, a clean end, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from batchq.emulator import Emulator, EmulatorOptions
from batchq.errors import ConfigurationError

COMMAND = [sys.executable, "-m", "batchq.emulator"]


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def start(
    started: list[subprocess.Popen[str]], *arguments: str, pass_fds: tuple[int, ...] = ()
) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds
    )
    started.append(process)
    assert process.stdout
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_it_prints_its_url_and_ends_cleanly_on_a_signal(
    started: list[subprocess.Popen[str]], name: str
) -> None:
    process, url = start(started, "--rpm", "60", "--fault", "503:0.1", "--latency", "0.1")
    with urllib.request.urlopen(f"{url}/emulator/options", timeout=5) as response:
        assert b'"rpm": 60' in response.read()
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (0, "", "")


def test_it_ends_while_callers_hang(started: list[subprocess.Popen[str]]) -> None:
    process, url = start(started, "--fault", "hang")
    port = int(url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
        body = b'{"contents": [{"parts": [{"text": "x"}]}]}'
        caller.sendall(
            b"POST /v1/models/gemini-2.5-flash:generateContent HTTP/1.1\r\nHost: x\r\nx-goog-api-key: k\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        deadline = time.monotonic() + 5
        while b'"in_flight": 1' not in urllib.request.urlopen(f"{url}/emulator/stats", timeout=5).read():
            assert time.monotonic() < deadline
        process.terminate()
        out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (0, "", "")


def test_it_ends_when_the_last_holder_of_its_pipe_is_gone(started: list[subprocess.Popen[str]]) -> None:
    theirs, ours = os.pipe()
    holder = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(ours,), text=True
    )
    started.append(holder)
    process, url = start(started, "--exit-with", str(theirs), pass_fds=(theirs,))
    os.close(theirs)
    os.close(ours)
    assert urllib.request.urlopen(f"{url}/emulator/stats", timeout=5).status == 200
    holder.kill()
    process.communicate(timeout=5)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "605"], "no kind of fault"),
        (["--rpm", "-3"], "rpm=-3"),
        (["--burst", "5"], "--mode bucket"),
        (["--answers", "/nowhere/labels.jsonl"], "/nowhere/labels.jsonl"),
    ],
)
def test_options_that_make_no_sense_end_it_with_one_line(arguments: list[str], said: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_named() -> None:
    with Emulator() as emulator, pytest.raises(ConfigurationError, match=str(emulator.port)):
        Emulator(port=emulator.port).start()


def test_a_closed_emulator_leaves_no_thread_and_no_port() -> None:
    before = threading.active_count()
    emulator = Emulator(EmulatorOptions(rpm=5)).start()
    assert emulator.url == f"http://127.0.0.1:{emulator.port}"
    emulator.close()
    emulator.close()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", emulator.port), timeout=1)


def test_loading_the_package_loads_no_http_server() -> None:
    code = "import sys, batchq.emulator; print('aiohttp' in sys.modules, batchq.emulator.parse_fault('503').kind)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout.split() == ["False", "503"]
