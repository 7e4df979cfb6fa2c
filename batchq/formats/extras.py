"""What only some need comes with an extra; without it the message gives the command."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from batchq.errors import InputError

_NEEDS = {"parquet": ("Parquet", "pyarrow"), "sql": ("SQL", "SQLAlchemy")}


def need(extra: str, module: str) -> Any:
    """The module, imported. Raises InputError that names the extra."""
    what, package = _NEEDS[extra]
    try:
        return import_module(module)
    except ImportError as exc:
        missing = exc.name.partition(".")[0] if exc.name else package
        raise InputError(f'{what} needs {missing}: pip install "batchq[{extra}]"') from None
