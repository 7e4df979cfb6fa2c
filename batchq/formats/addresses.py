"""What a source or destination is by its name: a path of this machine, a database, or a file at an address."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from batchq.errors import InputError
from batchq.formats.words import shown

DATABASES = ("sqlite", "postgresql", "postgres")
_SCHEME = re.compile(r"([a-z][a-z0-9.-]*)(?:\+[a-z0-9_]+)?://", re.IGNORECASE | re.ASCII)
_USER = re.compile(r"(://[^/?#@:]*):[^/?#]*@")
_SECRET = re.compile(r"((?:password|passwd|secret|token|key|sig|signature)[^=&?#]*)=[^&#]*", re.IGNORECASE)


def is_address(name: str) -> bool:
    """Whether a name is a URL of any kind (`C:` of a drive is none)."""
    return "://" in name


def is_database(name: str) -> bool:
    """Whether a URL names a database, to be asked with a query or written by upserts."""
    found = _SCHEME.match(name)
    return found is not None and found[1].lower() in DATABASES


def masked(name: str) -> str:
    """A name as it may be shown and stored: passwords and keys of a URL replaced by ***. A path stays itself."""
    if not is_address(name):
        return name
    address, mark, query = _USER.sub(r"\1:***@", name).partition("?")
    return address + mark + _SECRET.sub(r"\1=***", query)


def local_path(name: str) -> str | None:
    """The path of a `file://` URL; None: it is another URL. Raises InputError for another machine's."""
    if not name.lower().startswith("file://"):
        return None
    parts = urlsplit(name)
    if parts.netloc not in ("", "localhost"):
        raise InputError(f"{shown(name)} names the machine {shown(parts.netloc)}: write file:///path")
    # `?` and `#` are characters of a file's name like others
    return unquote(name[len("file://") + len(parts.netloc) :])


def file_name(address: str) -> str:
    """The last part of a URL's path, whose suffix tells the form: of the inner file where URLs are chained."""
    parts = urlsplit(address.split("::")[0])
    return (parts.netloc + parts.path).rsplit("/", 1)[-1]
