"""Files at addresses (`s3://`, `gs://`, `https://` …), by fsspec and the drivers that the user has installed."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO, cast

from batchq.errors import InputError
from batchq.formats.addresses import masked
from batchq.formats.loop import ready
from batchq.formats.words import shown

_BUFFER = 2**20
_PACKAGE = re.compile(r'[Ii]nstall (?:the )?([\w-]+(?:\[\w+\])?)|requires "([\w-]+)"')


class Remote:
    """A file at an address. `name` is the address without its secrets.

    Raises InputError: the protocol is unknown, its driver is not installed, or it refuses.
    """

    def __init__(self, address: str) -> None:
        self.name = masked(address)
        fsspec = _fsspec()
        with self._told("cannot be opened"):
            # an instance of our own: transactions are the instance's, and others may share a cached one
            self.fs, self.path = fsspec.core.url_to_fs(address, skip_instance_cache=True)

    def opened(self, *, seeking: bool = False) -> BinaryIO:
        """The file as a stream, read as it is asked for. `seeking`: it is not read from start to end only."""
        # many web servers know no ranges: one answer is read through, then
        options = {"block_size": 0} if self._is_web() and not seeking else {}
        with self._told("cannot be read"):
            try:
                file = self.fs.open(self.path, "rb", **options)
            except (FileNotFoundError, IsADirectoryError):
                # asked only now: over HTTP the answer costs a download
                if self.fs.isdir(self.path):
                    raise InputError(
                        f"{shown(self.name)} is a folder, and one file is read: name it, or download the folder"
                    ) from None
                raise
        return cast(BinaryIO, io.BufferedReader(_Raw(file), _BUFFER))

    @contextmanager
    def replaced(self) -> Iterator[IO[bytes]]:
        """A file to be written: it appears whole when the block ends, and not at all where it raises.

        Raises what the block raises, and OSError for the driver's errors.
        """
        transaction = self.fs.transaction
        transaction.start()
        try:
            with _as_os_error():
                file = self.fs.open(self.path, "wb")
            try:
                yield cast(IO[bytes], _Written(file))
            finally:
                with _as_os_error():
                    file.close()
        except BaseException:
            with suppress(Exception):
                transaction.complete(commit=False)
            raise
        with _as_os_error():
            transaction.complete(commit=True)

    def check_writable(self) -> None:
        """Raise InputError where no file can be put there. Nothing is put there, nor taken away."""
        with self._told("cannot be written"):
            if self._is_web():
                raise InputError(f"{shown(self.name)}: nothing can be written to a web address")
            folder = self.path.endswith("/")
            with suppress(PermissionError):  # one may write where one may not look
                folder = folder or self.fs.isdir(self.path)
            if folder:
                raise InputError(f"{shown(self.name)} is a folder: name a file in it")

    def _is_web(self) -> bool:
        protocol = self.fs.protocol
        return bool({"http", "https"} & set((protocol,) if isinstance(protocol, str) else protocol))

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except ImportError as exc:
            raise InputError(f"{shown(self.name)} {what}: {_driver(exc)}") from None
        except FileNotFoundError:
            raise InputError(f"there is no file {shown(self.name)}") from None
        except Exception as exc:  # drivers raise what their client libraries raise
            raise InputError(f"{shown(self.name)} {what}: {why(exc)}") from None


class _Raw(io.RawIOBase):
    """A driver's file with the errors of a local one."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _as_os_error():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        with _as_os_error():
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            with _as_os_error():
                self._file.close()
        super().close()


class _Written:
    """The same for a file that is written."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        with _as_os_error():
            self._file.write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing: a part of a block cannot be sent yet, and closing sends the rest."""


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as exc:
        raise OSError(why(exc)) from exc


def why(exc: Exception) -> str:
    """One line of what a driver said."""
    said = (exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)).strip()
    return f"{type(exc).__name__}: {said}".splitlines()[0][:300].removesuffix(": ")


def _driver(exc: ImportError) -> str:
    """fsspec names the package in its own words ("Install s3fs to access S3")."""
    found = _PACKAGE.search(str(exc))
    if found is None:
        return f"its driver is not installed ({why(exc)})"
    return f"its driver is not installed: pip install {found[1] or found[2]}"


def _fsspec() -> Any:
    import fsspec.asyn
    import fsspec.core

    ready(fsspec.asyn)
    return fsspec
