"""Results as rows of a table, upserted on the item id: the table is the old one or the new one, never half.

The results are gathered in a temporary table, which the database drops when the connection ends, and moved into
the real one by one statement in one transaction. However many there are, and however slowly they come, the real
table is locked for that moment only; whoever dies before it has changed nothing.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from batchq.core.records import JsonObject, Result
from batchq.errors import BatchqError, InputError
from batchq.formats.sql.engine import Place
from batchq.formats.words import listed, shown
from batchq.formats.writers.flat import Fields, columns_of, flat_row

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

TABLE = "batchq_results"  # where the URL names none
_ROWS = 500  # sent at once


def check_table(address: str, check_file: Callable[[str], None]) -> str:
    """Make sure that results can be written to a database, changing nothing. The address without its secrets.

    `check_file` raises InputError where an SQLite file cannot be made. Raises InputError.
    """
    place, name = _place(address)
    path = place.path
    if path is not None:
        check_file(str(path))
        if not path.exists():
            return place.name
    with place.told(), place.engine(read_only=True).connect() as connection:
        if _existing(connection, place, name) is None and path is None:
            _may_create(connection, place, name)
    return place.name


def upsert(results: Iterable[Result], address: str, fields: Fields, remedy: str) -> None:
    """Write all results: a row a result, over the row of that id where there is one. Other rows stay.

    A table that is not there is made. Of one that is there, the columns that results have are written. Raises
    BatchqError, ending in `remedy`, and what `results` raises; the table is what it was then.
    """
    place, name = _place(address)
    if place.path is not None:
        place.path.parent.mkdir(parents=True, exist_ok=True)
    with (
        place.told(BatchqError, f". {remedy}"),
        place.engine(read_only=False).connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        table = _existing(connection, place, name)
        made = table is None
        table = table if table is not None else _new(place, name, fields)
        staged = _fill(connection, place, table, results, fields)
        with _transaction(connection, place):
            if made:
                from sqlalchemy.schema import CreateTable

                connection.execute(CreateTable(table, if_not_exists=True))
            _move(connection, place, staged, table)


# -- where to -----------------------------------------------------------------------------------------------


def _place(address: str) -> tuple[Place, str]:
    """The database, and the name of the table, which `?table=` gives."""
    place = Place(address)
    name = place.url.query.get("table", TABLE)
    if not isinstance(name, str) or not name.strip(".") or not name.isprintable():
        raise InputError(f"{shown(place.name)}: give one name of a table, such as ?table={TABLE}")
    place.url = place.url.difference_update_query(["table"])
    return place, name


def _parts(place: Place, name: str) -> tuple[str | None, str]:
    schema, _, table = name.rpartition(".")
    return (schema or None, table) if not place.sqlite else (None, name)


def _existing(connection: Connection, place: Place, name: str) -> Table | None:
    """The table as it stands, the columns that results have; None: there is none. Raises InputError."""
    import sqlalchemy as sa

    schema, table_name = _parts(place, name)
    inspector = sa.inspect(connection)
    if not inspector.has_table(table_name, schema=schema):
        return None
    where = f"{shown(place.name)}: the table {shown(name)}"
    found = {column["name"]: column for column in inspector.get_columns(table_name, schema=schema)}
    if "id" not in found:
        raise InputError(f"{where} has no column id, but: {listed(found)}. Name another with ?table=")
    keys: list[Any] = [inspector.get_pk_constraint(table_name, schema=schema)["constrained_columns"]]
    keys += [one["column_names"] for one in inspector.get_unique_constraints(table_name, schema=schema)]
    keys += [
        one["column_names"]
        for one in inspector.get_indexes(table_name, schema=schema)
        if one["unique"]
        and not one.get("dialect_options", {}).get(f"{sa.inspect(connection).dialect.name}_where")
    ]
    if ["id"] not in keys:
        raise InputError(f"{where} may hold an id twice: make id its primary key, or give it a unique index")
    columns = []
    ours = {column.name for column in columns_of(())}
    for column_name, about in found.items():
        if about.get("computed") or about.get("identity"):
            continue
        known = column_name in ours or column_name.startswith("data_")
        if not known and not about["nullable"] and about["default"] is None:
            raise InputError(f"{where} wants a {shown(column_name)} in each row, which results do not have")
        if known:
            kind = about["type"]
            if isinstance(kind, sa.JSON):  # else None would be JSON's null
                kind = type(kind)(none_as_null=True)
            columns.append(sa.Column(column_name, kind, primary_key=column_name == "id"))
    return sa.Table(table_name, sa.MetaData(), *columns, schema=schema)


def _may_create(connection: Connection, place: Place, name: str) -> None:
    import sqlalchemy as sa

    schema = _parts(place, name)[0]
    query = "SELECT has_schema_privilege(coalesce(CAST(:schema AS text), current_schema()), 'CREATE')"
    if not connection.execute(sa.text(query), {"schema": schema}).scalar():
        raise InputError(
            f"{shown(place.name)}: there is no table {shown(name)}, and this user may not make one: "
            "have it made, or name another with ?table="
        )


def _new(place: Place, name: str, fields: Fields) -> Table:
    import sqlalchemy as sa
    from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB

    kinds: dict[str, Any] = {
        "text": sa.Text(),
        "integer": sa.BigInteger(),
        "number": sa.Float(53) if place.sqlite else DOUBLE_PRECISION(),
        "boolean": sa.Boolean(),
        "json": sa.Text() if place.sqlite else JSONB(none_as_null=True),
    }
    schema, table_name = _parts(place, name)
    columns = [
        sa.Column(
            one.name, kinds[one.kind], primary_key=one.name == "id", nullable=one.name not in ("id", "status")
        )
        for one in columns_of(fields)
    ]
    return sa.Table(table_name, sa.MetaData(), *columns, schema=schema)


# -- writing ------------------------------------------------------------------------------------------------


def _fill(
    connection: Connection, place: Place, table: Table, results: Iterable[Result], fields: Fields
) -> Table:
    """A temporary table with all the results, in the columns that `table` has for them."""
    import sqlalchemy as sa

    names = {column.name for column in columns_of(fields)}
    columns = [
        sa.Column(one.name, one.type, primary_key=one.name == "id")
        for one in table.columns
        if one.name in names
    ]
    staged = sa.Table(f"batchq_{secrets.token_hex(8)}", sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    staged.create(connection)
    rows = (_row(flat_row(result, fields), staged) for result in results)
    statement = _upserting(place, staged, staged)
    while batch := list(itertools.islice(rows, _ROWS)):
        with _transaction(connection, place, of_staging=True):
            connection.execute(statement, batch)
    return staged


def _move(connection: Connection, place: Place, staged: Table, table: Table) -> None:
    import sqlalchemy as sa

    names = [column.name for column in staged.columns]
    # SQLite takes the ON of ON CONFLICT for a join's where no WHERE stands before it.
    rows = sa.select(*staged.columns).where(sa.true())
    connection.execute(_upserting(place, staged, table).from_select(names, rows))


def _upserting(place: Place, staged: Table, table: Table) -> Any:
    """An insert into `table`, over the row of the same id where there is one."""
    from sqlalchemy.dialects import postgresql, sqlite

    insert: Any = (sqlite if place.sqlite else postgresql).insert(table)
    others = {one.name: insert.excluded[one.name] for one in staged.columns if one.name != "id"}
    if not others:
        return insert.on_conflict_do_nothing(index_elements=["id"])
    return insert.on_conflict_do_update(index_elements=["id"], set_=others)


@contextmanager
def _transaction(connection: Connection, place: Place, *, of_staging: bool = False) -> Iterator[None]:
    """SQLite: the lock is taken at once, not half-way, but none for a table that is the connection's own."""
    from sqlalchemy.exc import SQLAlchemyError

    connection.exec_driver_sql("BEGIN IMMEDIATE" if place.sqlite and not of_staging else "BEGIN")
    try:
        yield
    except BaseException:
        with suppress(SQLAlchemyError):  # what went wrong first is told
            connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def _row(row: JsonObject, staged: Table) -> JsonObject:
    import sqlalchemy as sa

    made: JsonObject = {}
    for column in staged.columns:
        value = row[column.name]
        if isinstance(value, str):
            value = value.replace("\0", "\ufffd")  # which PostgreSQL cannot hold
            if isinstance(column.type, sa.JSON):
                value = _storable(json.loads(value))
        made[column.name] = value
    return made


def _storable(value: Any) -> Any:
    """JSON without NUL, which jsonb cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return value
