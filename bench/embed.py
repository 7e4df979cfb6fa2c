"""Embeddings by the hundred against one by one, on the emulator: requests, processor time, memory.

One by one is a plain google-genai loop. Memory is that of worker and submitter at its highest, in a job of each size,
each with a worker that started fresh: it must not grow with the job.
"""

from __future__ import annotations

import argparse
import json
import os

from bench.meter import Meter, markdown, peak_mb
from bench.overhead import finished
from bench.stage import Stage, Submitted, stage

MODEL = "gemini-embedding-001"
UNLIMITED = {f"QUOTAS__{MODEL}__REQUESTS_PER_MINUTE": 10_000_000}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench embed", description=__doc__)
    parser.add_argument("--texts", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--single", type=int, default=500, help="texts that go one by one")
    asked = parser.parse_args(arguments)
    rows = [
        [
            "",
            "texts",
            "requests",
            "texts a request",
            "texts/s",
            "worker CPU, ms a text",
            "worker, MB at most",
            "submitter, MB at most",
        ]
    ]
    rows.append(one_by_one(asked.single, asked.dimensions))
    rows += [packed(texts, asked.dimensions) for texts in asked.texts]
    print(markdown(rows))
    times = float(rows[-1][3]) / float(rows[1][3])
    print(f"\n{times:.0f} times fewer requests in packs")


def packed(texts: int, dimensions: int) -> list[str]:
    with stage({}, UNLIMITED) as this:
        worker = this.worker(100, queues="batchq.control,batchq.embed")
        meter = Meter(this.redis_url, {"worker": [worker.pid]})
        lines = this.folder / "texts.jsonl"
        with lines.open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"id": str(number), "text": _text(number)}) + "\n" for number in range(texts)
            )
        submitted: list[Submitted] = []

        def work() -> None:
            option = f"output_dimensionality={dimensions}"
            submitted.append(this.submit(str(lines), "--operation", "embed", "--option", option))
            finished(client, submitted[0].job_id)

        with this.client() as client:
            cost = meter.measure(texts, work)
        wall, cpu = cost.wall_s, cost.cpu_s["worker"]
        memory = (f"{peak_mb(worker.pid):.0f}", f"{submitted[0].mb:.0f}")
        return _row("batchq", this, texts, wall, cpu, memory)


def one_by_one(texts: int, dimensions: int) -> list[str]:
    from google import genai
    from google.genai import types

    with stage({}) as this:
        options = types.HttpOptions(base_url=this.gemini_url)
        gemini = genai.Client(api_key="bench-key", http_options=options)
        meter = Meter(this.redis_url, {"loop": [os.getpid()]})

        def loop() -> None:
            for number in range(texts):
                config = types.EmbedContentConfig(output_dimensionality=dimensions)
                gemini.models.embed_content(model=MODEL, contents=_text(number), config=config)

        cost = meter.measure(texts, loop)
        return _row("one by one", this, texts, cost.wall_s, cost.cpu_s["loop"], ("", ""))


def _row(
    name: str, this: Stage, texts: int, wall_s: float, cpu_s: float, memory: tuple[str, str]
) -> list[str]:
    requests = this.emulator("stats")["requests"]
    each = [f"{texts / requests:.1f}", f"{texts / wall_s:.0f}", f"{1000 * cpu_s / texts:.2f}"]
    return [name, str(texts), str(requests), *each, *memory]


def _text(number: int) -> str:
    return f"Product {number}: a lamp of brass and glass, 40 cm high, with a cord of linen, made by hand"
