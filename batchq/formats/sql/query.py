"""The rows of a query, read-only, by a cursor on the server: no more than a few rows are held."""

from __future__ import annotations

from collections.abc import Iterator

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats.columns import check_columns, item_of_row, needed
from batchq.formats.items import ItemMaker
from batchq.formats.sql.engine import Place
from batchq.formats.words import shown

_ROWS = 100  # fetched at once: prompts may be long


class QueryRows:
    """The rows of one query. `columns` are its columns. `close()` ends it early.

    Raises InputError, at the start or later, with what the database said.
    """

    def __init__(self, place: Place, query: str, maker: ItemMaker) -> None:
        path = place.path
        if path is not None and not path.is_file():
            raise InputError(f"there is no file {shown(path)}")
        self._place, self._maker = place, maker
        options = {"postgresql_readonly": True} if path is None else {}
        engine = place.engine(read_only=True).execution_options(
            stream_results=True,
            max_row_buffer=_ROWS,
            no_parameters=True,  # else a % of a LIKE stands for a parameter
            **options,
        )
        with place.told():
            self._connection = engine.connect()
        try:
            self._ask(query)
        except BaseException:
            self.close()
            raise

    def _ask(self, query: str) -> None:
        with self._place.told():
            self._result = self._connection.exec_driver_sql(query)
        if not self._result.returns_rows:
            raise InputError("--query returns no rows: give a SELECT")
        self.columns = list(self._result.keys())
        doubled = next((one for one in self.columns if self.columns.count(one) > 1), None)
        if doubled is not None:
            raise InputError(f"--query returns two columns named {shown(doubled)}: rename one with AS")
        check_columns(self.columns, self._maker, "the query")

    def __iter__(self) -> Iterator[Item | Complaint]:
        wanted = [(self.columns.index(name), name) for name in needed(self.columns, self._maker)]
        with self._place.told():
            for row, values in enumerate(self._result, 1):
                yield item_of_row(self._maker, {name: values[index] for index, name in wanted}, row)

    def close(self) -> None:
        self._connection.close()
