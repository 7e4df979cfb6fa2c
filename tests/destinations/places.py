"""Destinations of real kinds, each with something in it already."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec
import psycopg
import pytest
from postgres_kit import postgres_server

OLD = {"old": "kept"}


@dataclass
class Place:
    """A destination that holds the one row of OLD, and what it holds."""

    url: str
    read: Callable[[], dict[str, str]]  # id -> text
    keeps_others: bool  # a table's other rows stay, a file is replaced


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["file", "address", "sqlite", pytest.param("postgres", marks=pytest.mark.fault)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = {
        "file": file_place,
        "address": address_place,
        "sqlite": sqlite_place,
        "postgres": postgres_place,
    }[request.param](request, tmp_path)
    assert made.read() == OLD
    return made


def file_place(_: pytest.FixtureRequest, folder: Path) -> Place:
    path = folder / "shared" / "results.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps({"key": "old", "response": {"output": "kept"}}) + "\n")

    def read() -> dict[str, str]:
        lines = map(json.loads, path.read_text().splitlines())
        return {line["key"]: str(line.get("response", {}).get("output")) for line in lines}

    return Place(f"file://{path}", read, keeps_others=False)


def address_place(_: pytest.FixtureRequest, folder: Path) -> Place:
    """A file of fsspec's, which is this process's memory."""
    url = f"memory://{folder.name}/results.jsonl"
    with fsspec.open(url, "w") as file:
        file.write(json.dumps({"key": "old", "response": {"output": "kept"}}) + "\n")

    def read() -> dict[str, str]:
        with fsspec.open(url, "r") as file:
            lines = [json.loads(line) for line in file]
        return {line["key"]: str(line.get("response", {}).get("output")) for line in lines}

    return Place(url, read, keeps_others=False)


def sqlite_place(_: pytest.FixtureRequest, folder: Path) -> Place:
    path = folder / "results.db"

    def run(statement: str) -> list[tuple[str, str]]:
        with sqlite3.connect(path) as connection:
            return list(connection.execute(statement))

    run("CREATE TABLE batchq_results (id TEXT PRIMARY KEY, data TEXT)")
    run("INSERT INTO batchq_results VALUES ('old', 'kept')")
    return Place(
        f"sqlite:///{path}", lambda: dict(run("SELECT id, data FROM batchq_results")), keeps_others=True
    )


def postgres_place(request: pytest.FixtureRequest, _: Path) -> Place:
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS answers")
        connection.execute("CREATE TABLE answers (id text PRIMARY KEY, data text)")
        connection.execute("INSERT INTO answers VALUES ('old', 'kept')")

    def read() -> dict[str, str]:
        with psycopg.connect(url, autocommit=True) as connection:
            return dict(connection.execute("SELECT id, data FROM answers").fetchall())

    return Place(f"{url}&table=answers", read, keeps_others=True)
