"""Files at addresses are read and written as files of this machine are: streamed, whole or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats_helpers import only_items, problem_of
from fsspec.implementations.memory import MemoryFileSystem
from test_writing_results import GOOD

from batchq.core.records import Result
from batchq.errors import BatchqError, InputError
from batchq.formats import InputSpec, check_destination, read, result_line, write
from batchq.formats.addresses import is_database, masked
from batchq.formats.remote import Remote


@pytest.fixture(autouse=True)
def memory() -> Iterator[MemoryFileSystem]:
    """Of the process; emptied after each test."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def ids(source: str, **options: str) -> list[str]:
    return [item.id for item in only_items(list(read(InputSpec(source, **options))))]


def test_lists_are_read_by_their_suffix(memory: MemoryFileSystem) -> None:
    memory.pipe("/in/a.jsonl", b'{"id": "x", "prompt": "1"}\n{"id": "y", "prompt": "2"}\n')
    memory.pipe("/in/a.csv", b"id,prompt\nc,1\n")
    memory.pipe("/in/requests.jsonl", b'{"key": "k", "request": {"contents": []}}')
    out = io.BytesIO()
    pq.write_table(pa.table({"id": ["p"], "prompt": ["1"]}), out)
    memory.pipe("/in/a.parquet", out.getvalue())

    assert ids("memory://in/a.jsonl") == ["x", "y"]
    assert ids("memory:///in/a.csv") == ["c"]
    assert read(InputSpec("memory://in/requests.jsonl")).format == "gemini"
    assert ids("memory://in/a.parquet") == ["p"]


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "with space#.csv"
    path.write_text("prompt,file\nx,y.png\n")
    [item] = only_items(list(read(InputSpec(path.as_uri()))))
    assert item.input["file"]["path"] == str(tmp_path.resolve() / "y.png")
    assert check_destination((tmp_path / "o.jsonl").as_uri()).path == str(tmp_path / "o.jsonl")
    with pytest.raises(InputError, match="names the machine 'other'"):
        read(InputSpec("file://other/a.csv"))


def test_files_that_a_list_names_are_those_of_the_working_folder(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    memory.pipe("/a.csv", b"prompt,file\nx,y.png\nx,/etc/passwd\n")
    first, second = only_items(list(read(InputSpec("memory://a.csv"))))
    assert first.input["file"]["path"] == str(tmp_path.resolve() / "y.png")
    assert problem_of(second).status == "FILE_OUTSIDE_ROOTS"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("memory://nowhere.csv", "there is no file 'memory://nowhere.csv'"),
        ("memory://in", "--input-format"),
        ("memory://in/a.csv.gz", "download and unpack it"),
        ("memory://in/a.png", "files are read by path"),
        ("memory://folder.csv", "is a folder"),
        ("nosuch://in/a.csv", "cannot be opened"),
        ("s3://bucket/a.csv", "pip install s3fs"),
        ("gs://bucket/a.csv", "pip install gcsfs"),
        ("sftp://u:hunter2@host/a.csv", "pip install paramiko"),
    ],
)
def test_what_cannot_be_read_is_told(memory: MemoryFileSystem, source: str, message: str) -> None:
    memory.pipe("/folder.csv/b.csv", b"prompt\nx\n")
    with pytest.raises(InputError) as caught:
        read(InputSpec(source))
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


ROWS = 50  # of a block
BLOCK = (b"words " * 333 + b"\n") * ROWS
BLOCKS = 300  # 30 MB, more than sockets hold


class Web(BaseHTTPRequestHandler):
    """A server that knows no ranges and breaks off in the middle of /broken.csv."""

    sent = 0  # blocks

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(5 + BLOCKS * len(BLOCK)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the reader went away
            self.wfile.write(b"text\n")
            for number in range(BLOCKS):
                if "broken" in self.path and number == 50:
                    return
                self.wfile.write(BLOCK)
                Web.sent = number + 1

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def web() -> Iterator[str]:
    Web.sent = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_list_of_the_web_is_streamed(web: str) -> None:
    with read(InputSpec(f"{web}/a.csv?version=2")) as reading:
        rows = iter(reading)
        next(rows)
        assert Web.sent < BLOCKS, "all of it was taken before the first row"
        assert sum(1 for _ in rows) == BLOCKS * ROWS - 1


def test_a_list_that_breaks_off_is_told(web: str) -> None:
    with pytest.raises(InputError, match="could not be read to its end"):
        list(read(InputSpec(f"{web}/broken.csv")))


IN_GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys
from itertools import islice
import gevent
from batchq.formats import InputSpec, read

def count():
    with read(InputSpec(sys.argv[1])) as reading:
        return sum(1 for _ in islice(reading, 20))

print([reader.get() for reader in [gevent.spawn(count) for _ in range(4)]], count())
"""


def test_greenlets_use_asynchronous_drivers_at_once(web: str) -> None:
    """As workers do: they run on gevent."""
    done = subprocess.run(
        [sys.executable, "-c", IN_GREENLETS, f"{web}/a.csv"], capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "[20, 20, 20, 20] 20\n", done.stderr


def test_results_appear_whole_where_there_was_another_file(memory: MemoryFileSystem) -> None:
    memory.pipe("/out/a.jsonl", b"old\n")
    destination = check_destination("memory://out/a.jsonl")
    assert memory.cat("/out/a.jsonl") == b"old\n"

    def results() -> Iterator[Result]:
        yield GOOD
        assert memory.cat("/out/a.jsonl") == b"old\n"

    done = write(results(), destination)
    assert json.loads(memory.cat("/out/a.jsonl")) == result_line(GOOD)
    assert (done.count, done.path, done.bytes) == (1, "memory://out/a.jsonl", memory.size("/out/a.jsonl"))


@pytest.mark.parametrize(
    "error", [RuntimeError("broke off"), KeyboardInterrupt(), OSError(5, "the store's own")]
)
def test_results_that_break_off_leave_the_old_file(memory: MemoryFileSystem, error: BaseException) -> None:
    memory.pipe("/out/a.jsonl", b"old\n")

    def results() -> Iterator[Result]:
        yield GOOD
        raise error

    for out in ("memory://out/a.jsonl", "memory://out/new.jsonl"):
        with pytest.raises(type(error)) as caught:
            write(results(), check_destination(out))
        assert caught.value is error
    assert memory.find("/out") == ["/out/a.jsonl"]
    assert memory.cat("/out/a.jsonl") == b"old\n"
    write([GOOD], check_destination("memory://out/a.jsonl"))
    assert memory.cat("/out/a.jsonl") != b"old\n"


def test_a_driver_that_fails_is_told_with_the_remedy(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = check_destination("memory://out/a.parquet")

    def refuse(*_: object, **__: object) -> None:
        raise LookupError("the bucket is gone")  # botocore's errors are no OSErrors either

    monkeypatch.setattr(MemoryFileSystem, "_open", refuse)
    with pytest.raises(BatchqError, match=r"the bucket is gone.*batchq results JOB"):
        write([GOOD], destination)


def test_who_may_write_and_not_look_is_not_refused(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise PermissionError("no listing")

    monkeypatch.setattr(MemoryFileSystem, "isdir", refuse)
    assert check_destination("memory://out/a.csv").form == "csv"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("memory://out/", "--format"),
        ("memory://out/a.xlsx", "--format"),
        ("memory://folder.csv", "is a folder"),
        ("http://127.0.0.1:1/a.csv", "web address"),
        ("s3://bucket/a.jsonl", "pip install s3fs"),
        ("nosuch://a.jsonl", "cannot be opened"),
    ],
)
def test_a_destination_that_cannot_be_written_is_refused_beforehand(
    memory: MemoryFileSystem, out: str, message: str
) -> None:
    memory.pipe("/folder.csv/b", b"x")
    with pytest.raises(InputError) as caught:
        check_destination(out)
    assert message in str(caught.value)
    assert memory.find("/") == ["/folder.csv/b"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("postgresql://u:hunter2@host/db", "postgresql://u:***@host/db"),
        (
            "postgresql+psycopg://u:a:b@host/db?sslmode=require",
            "postgresql+psycopg://u:***@host/db?sslmode=require",
        ),
        ("https://h/a.csv?X-Amz-Signature=abc&v=1", "https://h/a.csv?X-Amz-Signature=***&v=1"),
        ("postgresql://host/db?user=u&password=hunter2", "postgresql://host/db?user=u&password=***"),
        ("s3://bucket/key:with@signs.csv", "s3://bucket/key:with@signs.csv"),
        ("a:b@c?password=x", "a:b@c?password=x"),
    ],
)
def test_secrets_of_an_address_are_not_shown(name: str, shown: str) -> None:
    assert masked(name) == shown


def test_destinations_hide_their_secrets() -> None:
    address = "memory://out/a.csv?token=hunter2"
    destination = check_destination(address, "csv")
    assert "hunter2" not in repr(destination)
    assert Remote(address).name == "memory://out/a.csv?token=***"


def test_databases_are_told_from_files_at_addresses() -> None:
    assert all(map(is_database, ("sqlite:///a.db", "postgres://h/d", "POSTGRESQL+psycopg://h/d")))
    assert not any(map(is_database, ("s3://b/k", "sqlite.db", "mysql://h/d", "memory://a", "file:///x.db")))
