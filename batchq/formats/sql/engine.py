"""From a database's URL to a connection: SQLite by the standard library, PostgreSQL by psycopg."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from batchq.errors import InputError
from batchq.formats.addresses import masked
from batchq.formats.extras import need
from batchq.formats.words import shown

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

_FORMS = "sqlite:///results.db or postgresql://user@host/database"
_LOCK_WAIT_S = 30.0  # for another writer of an SQLite file
_POSTGRES = {"connect_timeout": "10", "application_name": "batchq", "client_encoding": "utf8"}


class Place:
    """A database by its URL. `name` is the URL without its secrets, `kind` what it is called.

    Raises InputError for what is no such URL. Nothing is opened yet.
    """

    def __init__(self, address: str) -> None:
        alchemy = need("sql", "sqlalchemy")
        self.name = masked(address)
        try:
            self.url: URL = alchemy.make_url(address)
        except (alchemy.exc.ArgumentError, ValueError):
            raise InputError(f"{shown(self.name)} is no database URL: write {_FORMS}") from None
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.kind = "SQLite" if self.sqlite else "PostgreSQL"
        if self.sqlite and (not self.url.database or self.url.database == ":memory:"):
            raise InputError(
                f"{shown(self.name)} names no file: write sqlite:///path (four / for an absolute one)"
            )

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database; None: a server has it."""
        return Path(self.url.database or "") if self.sqlite else None

    def engine(self, *, read_only: bool) -> Engine:
        """Connections of it, each opened anew. Raises InputError where the driver is missing."""
        alchemy, pool = need("sql", "sqlalchemy"), need("sql", "sqlalchemy.pool")
        path = self.path
        if path is not None:
            return cast(
                "Engine",
                alchemy.create_engine(
                    "sqlite://", creator=lambda: _sqlite(path, read_only), poolclass=pool.NullPool
                ),
            )
        need("sql", "psycopg")
        missing = {name: value for name, value in _POSTGRES.items() if name not in self.url.query}
        url = self.url.set(drivername="postgresql+psycopg").update_query_dict(missing)
        return cast("Engine", alchemy.create_engine(url, poolclass=pool.NullPool))

    @contextmanager
    def told(self, error: type[Exception] = InputError, end: str = "") -> Iterator[None]:
        """Database errors as `error`, in the database's own words, and `end`."""
        alchemy = need("sql", "sqlalchemy")
        try:
            yield
        except alchemy.exc.SQLAlchemyError as exc:
            said = str(getattr(exc, "orig", None) or exc).strip() or type(exc).__name__
            raise error(f"{shown(self.name)}: {said.splitlines()[0][:300]}{end}") from None


def _sqlite(path: Path, read_only: bool) -> Any:
    # Another thread may read on where this one began.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
        uri=True,
        timeout=_LOCK_WAIT_S,
        check_same_thread=False,
    )
    connection.text_factory = _text
    return connection


def _text(raw: bytes) -> str | bytes:
    """SQLite keeps whatever it is given as text; one bad cell must not end the whole query."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
