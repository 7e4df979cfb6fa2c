"""A query's rows become items: read-only, streamed, from SQLite and from PostgreSQL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from formats_helpers import only_complaint, only_items, problem_of

from batchq.errors import InputError
from batchq.formats import InputSpec, Reading, read

QUESTIONS = "SELECT id, question FROM q ORDER BY n"


def ask(url: str, query: str | None, **options: Any) -> Reading:
    return read(InputSpec(url, query=query, **options))


def refusal(url: str, query: str | None, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        list(ask(url, query, **options))
    return str(caught.value)


def lite(path: Path, *statements: str, rows: list[tuple[Any, ...]] = []) -> str:  # noqa: B006
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
        if rows:
            connection.executemany(f"INSERT INTO q VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture
def questions(tmp_path: Path) -> str:
    rows = [(n, f"q-{n}", f"why {n} %?") for n in range(1, 251)]
    return lite(tmp_path / "a.db", "CREATE TABLE q (n INTEGER, id TEXT, question TEXT)", rows=rows)


@pytest.fixture
def postgres_questions(postgres: str) -> str:
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE q (n int, id text, question text)")
        connection.execute(
            "INSERT INTO q SELECT n, 'q-' || n, 'why ' || n || ' %?' FROM generate_series(1, 250) n"
        )
    return postgres


@pytest.fixture(params=["questions", "postgres_questions"])
def database(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


def test_rows_go_through_a_template(database: str) -> None:
    with ask(database, QUESTIONS, prompt="Answer: {question}") as reading:
        assert reading.format == "sql"
        assert reading.described.endswith(" query, 2 columns")
        items = only_items(list(reading))
    assert [(item.id, item.input) for item in items] == [
        (f"q-{n}", {"prompt": f"Answer: why {n} %?"}) for n in range(1, 251)
    ]
    assert items[8].place == "row 9"


def test_a_prompt_column_needs_no_template_and_a_percent_sign_is_one(database: str) -> None:
    query = "SELECT question AS text, n AS id FROM q WHERE question LIKE '%7 %' AND id LIKE 'q-%' ORDER BY n;"
    items = only_items(list(ask(database, query)))
    assert [item.id for item in items][:3] == ["7", "17", "27"]
    assert items[0].input == {"text": "why 7 %?"}


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        (None, {}, "--query"),
        ("SELECT nothing FROM q", {}, "nothing"),
        ("SELEC 1", {}, "syntax error"),
        ("SELECT * FROM q WHERE n < 0", {"prompt": "{question}"}, "nothing in what the query finds"),
        ("SELECT id, question FROM q", {}, "the query has no column prompt"),
        ("SELECT id, question FROM q", {"prompt": "{qestion}"}, "did you mean 'question'?"),
        ("SELECT id AS prompt, question AS prompt FROM q", {}, "two columns named 'prompt'"),
        ("SELECT question AS prompt FROM q", {"glob": "*"}, "--glob"),
        ("SELECT question AS prompt FROM q", {"format": "csv"}, "--input-format"),
    ],
)
def test_what_is_no_list_is_refused(
    database: str, query: str | None, options: dict[str, str], message: str
) -> None:
    assert message in refusal(database, query, **options)


@pytest.mark.parametrize(
    "query", ["DELETE FROM q", "INSERT INTO q VALUES (0, 'x', 'y')", "DROP TABLE q", "CREATE TABLE z (a int)"]
)
def test_nothing_can_be_changed(database: str, query: str) -> None:
    refusal(database, query)
    assert len(list(ask(database, QUESTIONS, prompt="{question}"))) == 250


def test_not_by_a_function_of_the_query_either(postgres_questions: str) -> None:
    with psycopg.connect(postgres_questions) as connection:
        connection.execute(
            "CREATE FUNCTION wipe() RETURNS text LANGUAGE sql AS 'DELETE FROM q RETURNING question'"
        )
    assert "read-only transaction" in refusal(postgres_questions, "SELECT wipe() AS prompt")


def test_every_type_of_sqlite_is_spelt_as_text_and_a_bad_cell_stays_alone(tmp_path: Path) -> None:
    url = lite(
        tmp_path / "a.db",
        "CREATE TABLE q (id, text, x)",
        rows=[(1, "a", 1.5), (2, b"bytes", None), (3, b"\xff", 1), (None, "d", 1), (5, "e", 2**53 + 1)],
    )
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("INSERT INTO q VALUES (6, CAST(x'ff41' AS TEXT), 1)")
    connection.commit()
    connection.close()
    found = list(ask(url, "SELECT * FROM q", prompt="{text} {x}"))
    assert only_complaint(found).place == "row 4"
    prompts = [row.input.get("prompt") for row in found if row.place != "row 4"]  # type: ignore[union-attr]
    assert prompts == ["a 1.5", "bytes ", None, f"e {2**53 + 1}", None]
    assert [problem_of(found[index]).status for index in (2, 5)] == ["WRONG_TYPE"] * 2


def test_every_type_of_postgresql_is_spelt_as_text(postgres: str) -> None:
    query = """SELECT '10.50'::numeric AS a, '2026-11-21 08:30+00'::timestamptz AS b, '{"k": [1]}'::jsonb AS c,
        ARRAY['x', 'y'] AS d, true AS e, NULL AS f, 'é'::bytea AS g, 9007199254740993 AS h, '2026-11-21'::date AS i,
        'f47ac10b-58cc-4372-a567-0e02b2c3d479'::uuid AS j"""
    [item] = only_items(list(ask(postgres, query, prompt="{a}|{c}|{d}|{e}|{f}|{g}|{h}|{i}|{j}|{b}")))
    *parts, at = item.input["prompt"].split("|")
    assert parts == [
        "10.50",
        '{"k": [1]}',
        '["x", "y"]',
        "true",
        "",
        "é",
        "9007199254740993",
        "2026-11-21",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ]
    assert datetime.fromisoformat(at).timestamp() == 1795249800


def test_a_file_column_is_relative_to_the_database_file(tmp_path: Path) -> None:
    url = lite(tmp_path / "a.db", "CREATE TABLE q (file)", rows=[("x.png",), ("/etc/passwd",)])
    first, second = only_items(list(ask(url, "SELECT * FROM q")))
    assert first.input["file"]["path"] == str(tmp_path.resolve() / "x.png")
    assert problem_of(second).status == "FILE_OUTSIDE_ROOTS"


def test_a_server_is_asked_for_a_few_rows_at_a_time(postgres: str) -> None:
    """The thousandth row divides by zero, and everything is read before it is come to."""
    query = "SELECT 'ask ' || 1 / (1000 - n) AS prompt, n AS id FROM generate_series(1, 5000) n"
    reading = iter(ask(postgres, query))
    for _ in range(800):
        next(reading)
    with pytest.raises(InputError, match="division by zero"):
        list(reading)


MEASURED = """
import psutil, sys
from batchq.formats import InputSpec, read
from batchq.formats.sql import query
import sqlalchemy.dialects.postgresql.psycopg, psycopg
process = psutil.Process()
before = peak = process.memory_info().rss
for number, _ in enumerate(read(InputSpec(sys.argv[1], query=sys.argv[2])), 1):
    if number % 100 == 0:
        peak = max(peak, process.memory_info().rss)
print(number, (peak - before) // 2**20)
"""


def test_memory_is_that_of_a_few_rows(postgres: str, tmp_path: Path) -> None:
    queries = {  # 200 MB each
        postgres: "SELECT repeat(md5(n::text), 300) AS prompt FROM generate_series(1, 20000) n",
        f"sqlite:///{tmp_path / 'a.db'}": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE "
        "n < 20000) SELECT hex(randomblob(4800)) AS prompt FROM s",
    }
    sqlite3.connect(tmp_path / "a.db").close()
    for url, query in queries.items():
        got = subprocess.run(
            [sys.executable, "-c", MEASURED, url, query],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        number, megabytes = map(int, got.stdout.split())
        assert number == 20_000
        assert megabytes < 60, (url, megabytes)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///nowhere.db", "there is no file"),
        ("postgresql://u:hunter2@127.0.0.1:1/db", "refused"),
        ("postgresql://u:hunter2@127.0.0.1:port/db", "no database URL"),
        ("postgres://u:hunter2@127.0.0.1:1/db?password=hunter2", "refused"),
    ],
)
def test_a_database_that_cannot_be_asked_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = refusal(url, "SELECT 1 AS prompt")
    assert message in told
    assert "hunter2" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"prompt\n" * 1000)
    assert "not a database" in refusal(f"sqlite:///{tmp_path / 'a.db'}", "SELECT * FROM q")


def test_a_query_without_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt\nx\n")
    assert "--query is for databases" in refusal(str(tmp_path / "a.csv"), "SELECT 1")


def test_an_sqlite_file_named_as_a_list_is_told_the_url(questions: str) -> None:
    assert "--query" in refusal(questions.removeprefix("sqlite:///"), None, format="csv")


def test_an_end_before_the_end_leaves_nothing_open(
    postgres_questions: str, connections: Callable[[], int]
) -> None:
    with ask(postgres_questions, QUESTIONS, prompt="{question}") as reading:
        rows = iter(reading)
        next(rows)
        assert connections() == 1
    assert connections() == 0
    refusal(postgres_questions, "SELECT 1 AS nothing")
    assert connections() == 0


@pytest.mark.parametrize("module", ["sqlalchemy", "psycopg"])
def test_without_the_extra_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert 'pip install "batchq[sql]"' in refusal("postgresql://u@127.0.0.1:1/db", "SELECT 1")
