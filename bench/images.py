"""Jobs of 500 and 5,000 pictures, no two alike: the memory of submitter and worker must not grow with their number.

The pictures are drawn here. They are submitted by the command line, as a process of its own whose memory is read, and
worked off by a worker that started fresh, each answer by the emulator.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from batchq import Client
from bench.meter import markdown, peak_mb
from bench.overhead import finished
from bench.stage import MODEL, stage

UNLIMITED = {f"QUOTAS__{MODEL}__REQUESTS_PER_MINUTE": 10_000_000}
SIDE = (250, 160)
SLOTS = 50
MOST = 1.1  # times the memory of the smallest job


@dataclass(frozen=True, slots=True)
class Seen:
    files: str
    images: int
    bytes_each: int
    submitter_mb: float
    worker_mb: float
    images_per_s: float


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench images", description=__doc__)
    parser.add_argument("--images", type=int, nargs="*", default=[500, 5_000])
    parser.add_argument("--files", nargs="*", choices=["path", "inline"], default=["path"])
    asked = parser.parse_args(arguments)
    rows: list[list[str]] = [list(Seen.__slots__)]
    grown: list[str] = []
    for mode in asked.files:
        seen = [measured(images, mode) for images in asked.images]
        rows += [[_shown(getattr(one, name)) for name in rows[0]] for one in seen]
        for part in ("submitter_mb", "worker_mb"):
            ratio = getattr(seen[-1], part) / getattr(seen[0], part)
            grown.append(f"{mode}: {part} × {ratio:.2f}{'' if ratio <= MOST else f', more than {MOST}'}")
    print(markdown(rows) + "\n\n" + "\n".join(grown))


def measured(images: int, mode: str) -> Seen:
    with stage({}, UNLIMITED) as this:
        folder = this.folder / "pictures"
        size = draw(folder, images)
        this.environ["BATCHQ_FILE_ROOTS"] = str(folder)
        worker = this.worker(SLOTS, queues="batchq.control,batchq.generate")
        with this.client() as client:
            began = time.perf_counter()
            job = this.submit(str(folder), "--prompt", "What is it?", "--files", mode)
            finished(client, job.job_id)
            seconds = time.perf_counter() - began
            _check(client, job.job_id, images)
        return Seen(mode, images, size // images, job.mb, peak_mb(worker.pid), images / seconds)


def draw(folder: Path, images: int) -> int:
    """Pictures of grey noise with a number in them, quick to draw and 40 kB each; bytes in all."""
    folder.mkdir()
    dice, size = random.Random(7), 0
    for number in range(images):
        noise = Image.frombytes("L", SIDE, dice.randbytes(SIDE[0] * SIDE[1]))
        ImageDraw.Draw(noise).text((20, 20), f"picture {number}", fill=255)
        path = folder / f"{number:06}.png"
        noise.save(path, "PNG", compress_level=1)
        size += path.stat().st_size
    return size


def _check(client: Client, job_id: str, images: int) -> None:
    record = client.status(job_id)
    assert record.succeeded == images, record.errors
    assert len({result.text for result in client.results(job_id)}) == images, "each has its own answer"


def _shown(value: object) -> str:
    return (
        f"{value:.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )
