"""examples/embeddings does what its page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fleet_kit import Fleet

from batchq import Client
from batchq.emulator import Emulator
from batchq.formats import InputSpec, check_destination, read, write

EXAMPLE = Path(__file__).parents[2] / "examples" / "embeddings"


def test_products_become_vectors_and_the_nearest_is_found(
    fleet: Fleet, client: Client, gemini: Emulator, tmp_path: Path
) -> None:
    fleet.start()
    options = {"output_dimensionality": 256, "task_type": "SEMANTIC_SIMILARITY"}
    rows = read(InputSpec(str(EXAMPLE / "products.csv")))
    job = client.submit(rows, operation="embed", options=options, preflight=False)
    assert job.wait(60).succeeded == 30
    assert gemini.stats()["requests"] == 1

    lines, table = tmp_path / "products.jsonl", tmp_path / "products.parquet"
    for path in (lines, table):
        spec = client.walk.spec(job.id)
        write(job.results(), check_destination(str(path)), schema=spec.schema, vectors=spec.has_vectors)
    column = pq.read_table(table).column("embedding")
    assert column.type == pa.list_(pa.float32())
    assert column.to_pylist() == [pa.array(result.data, pa.float32()).to_pylist() for result in job.results()]
    shown = subprocess.run(
        [sys.executable, str(EXAMPLE / "nearest.py"), str(lines), "kettle-steel", "3"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(shown) == 3
    assert all(-1 <= float(line.split()[0]) <= 1 for line in shown)
