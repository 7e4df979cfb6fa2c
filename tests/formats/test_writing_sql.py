"""A table of results is the old one or the new one, whatever happens to who writes it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import pytest
from test_writing_results import BAD, GOOD, answered
from test_writing_tables import ANSWER, SCHEMA, structured

from batchq.core.records import Result
from batchq.errors import BatchqError, InputError
from batchq.formats import check_destination, write

TABLE = "batchq_results"


class Lite:
    """An SQLite file, asked behind batchq's back."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "new" / "o.db"
        self.url = f"sqlite:///{self.path}"

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        self.path.parent.mkdir(exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            return [row for statement in statements for row in connection.execute(statement)]
        finally:
            connection.close()

    def gathered(self) -> list[str]:
        """Tables in which results are gathered: SQLite's are in a file of their own, without a name."""
        return []

    def tables(self) -> list[str]:
        if not self.path.exists():
            return []
        return [name for (name,) in self.run("SELECT name FROM sqlite_master WHERE type = 'table'")]


class Postgres:
    """A PostgreSQL database, asked behind batchq's back."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                rows += cursor.fetchall() if cursor.description else []
        return rows

    def gathered(self) -> list[str]:
        query = "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
        return [name for (name,) in self.run(query)]

    def tables(self) -> list[str]:
        query = "SELECT relname FROM pg_class WHERE relpersistence = 'p' AND relname LIKE 'batchq%' AND relkind = 'r'"
        return [name for (name,) in self.run(query)]


Place = Lite | Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Lite(tmp_path)
    return Postgres(request.getfixturevalue("postgres"))


def put(place: Place, *results: Result, table: str = "", **options: Any) -> None:
    write(results, check_destination(_url(place, table)), **options)


def _url(place: Place, table: str) -> str:
    if not table:
        return place.url
    return f"{place.url}{'&' if '?' in place.url else '?'}table={table}"


def test_a_table_is_made_with_a_row_a_result(place: Place) -> None:
    done = write([GOOD, BAD], check_destination(place.url))
    assert (done.count, done.bytes) == (2, 0)
    assert place.run(
        f"SELECT id, status, text, error, attempts, duration_ms, tokens, cost FROM {TABLE} ORDER BY id"
    ) == [
        ("q-17", "succeeded", "Four", None, 0 + 1, 812, 15, 0.00011),
        ("q-18", "failed", None, "INVALID_ARGUMENT: no", 1, 0, 0, None),
    ]
    assert place.tables() == [TABLE]


def test_a_row_of_the_same_id_is_replaced_and_the_others_stay(place: Place) -> None:
    put(place, answered("a", "old"), answered("b", "old"))
    put(place, answered("b", "new"), answered("c", "new"))
    put(place)
    assert place.run(f"SELECT id, text FROM {TABLE} ORDER BY id") == [
        ("a", "old"),
        ("b", "new"),
        ("c", "new"),
    ]


def test_the_fields_of_the_schema_are_columns(place: Place) -> None:
    odd = {"type": "object", "properties": {**SCHEMA["properties"], "Total (EUR) %:": {"type": "string"}}}  # type: ignore[dict-item]
    odd["$defs"] = SCHEMA["$defs"]
    for _ in range(2):  # into a new table, and into one that is there
        put(place, structured("s", {**ANSWER, "Total (EUR) %:": "5 €"}), BAD, schema=odd)
    first, second = place.run(
        f'SELECT data_total, data_items, data_paid, data_seller_name, "data_Total (EUR) %:" FROM {TABLE} ORDER BY id DESC'
    )
    assert first == (5.0, 3, True, "=Bo", "5 €")
    assert second == (None,) * 5
    [(tags, data)] = place.run(f"SELECT data_tags, data FROM {TABLE} WHERE id = 's'")
    if isinstance(place, Lite):
        tags, data = json.loads(tags), json.loads(data)
    assert (tags, data["seller"]) == (["a", "b"], ANSWER["seller"])
    assert place.run(f"SELECT count(*) FROM {TABLE} WHERE data IS NULL") == [(1,)]


def test_answers_that_no_database_takes_are_written_all_the_same(place: Place) -> None:
    put(place, answered("a", "half \ud83d and \0"), structured("b", {"x\0": ["\0", "\ud83d"]}))
    assert place.run(f"SELECT text FROM {TABLE} WHERE id = 'a'") == [("half \ufffd and \ufffd",)]
    [(data,)] = place.run(f"SELECT data FROM {TABLE} WHERE id = 'b'")
    if isinstance(place, Postgres):
        assert data == {"x\ufffd": ["\ufffd", "\ufffd"]}


def test_a_table_of_ones_own_gets_the_columns_that_it_has(place: Place) -> None:
    place.run("CREATE TABLE mine (id VARCHAR(20) PRIMARY KEY, cost NUMERIC(9, 5), note TEXT, status TEXT)")
    place.run("INSERT INTO mine VALUES ('q-17', 9, 'keep me', 'old')")
    put(place, GOOD, BAD, table="mine")
    rows = place.run("SELECT id, note, status FROM mine ORDER BY id")
    assert rows == [("q-17", "keep me", "succeeded"), ("q-18", None, "failed")]
    [(cost,)] = place.run("SELECT cost FROM mine WHERE id = 'q-17'")
    assert float(cost) == 0.00011


def test_a_table_of_another_schema_is_written(postgres: str) -> None:
    place = Postgres(postgres)
    place.run("DROP SCHEMA IF EXISTS other CASCADE", "CREATE SCHEMA other")
    put(place, GOOD, table="other.answers")
    put(place, GOOD, table="other.answers")
    assert place.run("SELECT id FROM other.answers") == [("q-17",)]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("CREATE TABLE mine (key TEXT PRIMARY KEY)", "has no column id, but: key"),
        ("CREATE TABLE mine (id TEXT, status TEXT)", "primary key"),
        ("CREATE TABLE mine (id TEXT, status TEXT, UNIQUE (id, status))", "primary key"),
        ("CREATE TABLE mine (id TEXT PRIMARY KEY, owner TEXT NOT NULL)", "'owner'"),
    ],
)
def test_a_table_that_cannot_take_results_is_refused_beforehand(
    place: Place, made: str, message: str
) -> None:
    place.run(made)
    with pytest.raises(InputError) as caught:
        check_destination(_url(place, "mine"))
    assert message in str(caught.value)


def test_a_unique_index_will_do(place: Place) -> None:
    place.run("CREATE TABLE mine (id TEXT, text TEXT)", "CREATE UNIQUE INDEX one ON mine (id)")
    put(place, GOOD, table="mine")
    put(place, GOOD, table="mine")
    assert place.run("SELECT id, text FROM mine") == [("q-17", "Four")]


def test_checking_changes_nothing(place: Place) -> None:
    assert check_destination(place.url).form == "sql"
    assert place.tables() == []
    if isinstance(place, Lite):
        assert not place.path.parent.exists()


@pytest.mark.parametrize(
    ("out", "format", "message"),
    [
        ("sqlite:///o.db", "csv", "--format is for files"),
        ("sqlite://", None, "names no file"),
        ("sqlite:///file.txt/o.db", None, "not a directory"),
        ("sqlite:///file.txt", None, "not a database"),
        ("sqlite:///o.db?table=a&table=b", None, "?table="),
        ("postgresql://u:hunter2@127.0.0.1:1/db", None, "refused"),
    ],
)
def test_a_database_that_cannot_be_written_is_refused_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, format: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.txt").write_bytes(b"x" * 1000)
    with pytest.raises(InputError) as caught:
        check_destination(out, format)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_user_who_may_not_make_a_table_is_told_beforehand(postgres: str) -> None:
    place = Postgres(postgres)
    place.run("DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN")
    url = postgres.replace("postgres:@", "guest:@")
    with pytest.raises(InputError, match="may not make one"):
        check_destination(url)
    place.run(
        f"CREATE TABLE {TABLE} (id text PRIMARY KEY, text text)",
        f"GRANT ALL ON {TABLE} TO guest",
        "GRANT USAGE ON SCHEMA public TO guest",
    )
    write([GOOD], check_destination(url))
    assert place.run(f"SELECT text FROM {TABLE}") == [("Four",)]


@pytest.mark.parametrize("error", [OSError(5, "the store's own"), KeyboardInterrupt()])
def test_results_that_break_off_change_nothing(place: Place, error: BaseException) -> None:
    def results() -> Iterator[Result]:
        for number in range(1_200):
            yield answered(str(number), "new")
        raise error

    for before in ([], [TABLE]):
        with pytest.raises(type(error)) as caught:
            write(results(), check_destination(place.url))
        assert caught.value is error
        assert place.tables() == before
        put(place, answered("1", "old"))
    assert place.run(f"SELECT id, text FROM {TABLE}") == [("1", "old")]


def test_an_error_of_the_database_changes_nothing_and_says_what_to_do(place: Place) -> None:
    place.run("CREATE TABLE mine (id TEXT PRIMARY KEY, text TEXT CHECK (length(text) < 5))")
    put(place, answered("1", "old"), table="mine")
    with pytest.raises(BatchqError, match=r"(?i)check constraint.*batchq results JOB"):
        put(place, answered("1", "new"), answered("2", "too long"), table="mine")
    assert place.run("SELECT id, text FROM mine") == [("1", "old")]


def test_results_are_gathered_while_another_holds_the_file(tmp_path: Path) -> None:
    place = Lite(tmp_path)
    put(place, GOOD)
    other = sqlite3.connect(place.path, isolation_level=None)

    def results() -> Iterator[Result]:
        other.execute("BEGIN IMMEDIATE")
        for number in range(1_200):
            yield answered(f"n-{number}", "new")
        other.execute("COMMIT")

    write(results(), check_destination(place.url))
    other.close()
    assert place.run(f"SELECT count(*) FROM {TABLE}") == [(1_201,)]


def test_others_write_the_table_while_results_come(place: Place) -> None:
    put(place, answered("1", "old"))

    def results() -> Iterator[Result]:
        for number in range(1_200):
            yield answered(f"n-{number}", "new")
        place.run(f"UPDATE {TABLE} SET text = 'theirs' WHERE id = '1'")
        assert place.run(f"SELECT text FROM {TABLE}") == [("theirs",)]

    write(results(), check_destination(place.url))
    assert place.run(f"SELECT count(*), max(text) FROM {TABLE}") == [(1_201, "theirs")]


NUMBER = 2_000


def _write_new(url: str, signals: Connection, hang_at: int | None) -> None:
    def results() -> Iterator[Result]:
        for number in range(NUMBER):
            if number == hang_at:
                signals.send("hangs")
                time.sleep(60)
            yield answered(str(number), "new")
        signals.send("all given")

    write(results(), check_destination(url))
    signals.send("written")


@pytest.mark.parametrize("moment", ["while results come", 0, 5, 15, 40, "after"])
def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new_table(
    place: Place, moment: str | int
) -> None:
    """A number: milliseconds after the last result was given, while they are moved into the table."""
    put(place, *(answered(str(number), "old") for number in range(NUMBER)))
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(
        target=_write_new, args=(place.url, theirs, 1_500 if moment == "while results come" else None)
    )
    process.start()
    assert process.pid is not None
    assert ours.poll(30)
    ours.recv()
    if isinstance(moment, int):
        time.sleep(moment / 1000)  # the moment itself, not a wait for something
    elif moment == "after":
        assert ours.poll(30)
        assert ours.recv() == "written"
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)

    texts = place.run(f"SELECT text, count(*) FROM {TABLE} GROUP BY text")
    assert texts in ([("old", NUMBER)], [("new", NUMBER)])
    if not isinstance(moment, int):
        assert texts[0][0] == ("new" if moment == "after" else "old")
    assert place.tables() == [TABLE]
    deadline = time.monotonic() + 10  # the server drops what a dead writer had gathered
    while place.gathered():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    put(place, answered("0", "newer"))
    assert place.run(f"SELECT text FROM {TABLE} WHERE id = '0'") == [("newer",)]
