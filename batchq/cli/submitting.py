"""What run and submit share: opening the input, files by path or as bytes, telling what was accepted."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchq.cli import say
from batchq.cli.options import JobOptions
from batchq.core.wording import count, duration, no_worker
from batchq.errors import InputError

if TYPE_CHECKING:
    from batchq.client import Client
    from batchq.flow.submission import Accepted, FilesMode
    from batchq.formats import Reading
    from batchq.settings import Settings
    from batchq.store.fleet import Beat

STDIN = "-"
WITHOUT_FILES = ("gemini", "openai", "text")  # forms whose items name no files


def open_input(asked: JobOptions, source: str, settings: Settings) -> Reading:
    """The input, its form found and its first row read. Raises InputError."""
    from batchq.formats import read

    return read(asked.spec(source, settings.file_roots))


def tell_input(reading: Reading) -> None:
    say.note(f"input: {reading.described} (--input-format {reading.format})")


def files_mode(
    asked: JobOptions, reading: Reading, settings: Settings, beats: Sequence[Beat], *, own_workers: bool
) -> FilesMode:
    """By path where every worker that may get the items has the folders as file roots, else the bytes.

    `own_workers`: this command starts workers that read the input's folder. Raises InputError for --files path
    where that cannot work.
    """
    if asked.files == "inline" or reading.format in WITHOUT_FILES:
        return "inline"
    folders = [reading.folder, *(os.path.realpath(root) for root in settings.file_roots)]
    readers = [beat for beat in beats if _may_get(beat, asked, reading, settings)]
    others_read = all(_reads(beat, folder) for beat in readers for folder in folders)
    split = own_workers and any(os.pathsep in folder for folder in folders)
    if asked.files == "path":
        if split:
            raise InputError(
                f"--files path: {os.pathsep!r} in {reading.folder!r} cannot be told to workers: rename the folder, "
                "or use --files inline"
            )
        _check_readers(reading.folder, readers, own_workers=own_workers)
        return "path"
    return "path" if (readers or own_workers) and others_read and not split else "inline"


def _check_readers(folder: str, readers: Sequence[Beat], *, own_workers: bool) -> None:
    """Raises InputError where none of the live workers may read the files: every item would fail."""
    if own_workers or any(_reads(beat, folder) for beat in readers):
        return
    remedy = f"start workers with BATCHQ_FILE_ROOTS={folder}, or use --files inline"
    if readers:
        raise InputError(f"--files path: no live worker has {folder} under its file roots: {remedy}")
    say.note(f"warning: --files path, and no worker lives yet: {remedy}")


def _may_get(beat: Beat, asked: JobOptions, reading: Reading, settings: Settings) -> bool:
    queues = set(beat.queues) - {"control", "dead_letter"}
    if reading.format == "batchq":  # lines may name operations of their own
        return bool(queues)
    return (settings.operation(asked.operation).queue or asked.operation) in queues


def _reads(beat: Beat, folder: str) -> bool:
    return any(Path(folder).is_relative_to(root) for root in beat.file_roots)


def tell_expectation(client: Client, job_id: str) -> None:
    """The workers that are missing, else the quota that binds and when the job will end, as far as that is known; and
    what it waits for."""
    from batchq.flow.forecast import binding
    from batchq.flow.status import unserved_queues

    record = client.status(job_id)
    missing = unserved_queues(client.walk, job_id)
    bound = binding(client.walk, job_id)
    if missing:
        say.note(no_worker(missing))
    elif bound is not None:
        quota, rpm = bound
        say.note(f"quota: {quota}, {rpm:,} requests a minute")
    if record.reason is not None and (not missing or record.reason != no_worker(missing)):
        say.note(f"the job is {record.state}: {record.reason}")
    if record.eta is not None and not missing:
        end = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + record.eta))
        say.note(f"expected end: {end}, in {duration(record.eta)}")


def tell_accepted(accepted: Accepted, reading: Reading) -> None:
    """The items, what was left out, and the first of those that failed already."""
    say.note(f"job {accepted.job_id}: {count(accepted.total, 'item')}")
    for line in reading.skipped.told():
        say.note(f"  {line}")
    if not accepted.failed:
        return
    say.note(f"{count(accepted.failed, 'item')} cannot be sent and failed already:")
    for problem in accepted.problems:
        say.note(f"  {problem}")
    more = accepted.failed - len(accepted.problems)
    if more:
        say.note(f"  … and {more:,} more")
