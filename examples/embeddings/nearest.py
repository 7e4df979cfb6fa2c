"""Which items of a results file are most like one of them: nearest.py RESULTS.jsonl ID [HOW_MANY]"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path


def nearest(results: Path, to: str, most: int = 5) -> list[tuple[str, float]]:
    """Ids by the cosine of their vectors with that of `to`, the most alike first."""
    lines = map(json.loads, results.read_text("utf-8").splitlines())
    vectors = {line["key"]: line["response"]["embedding"]["values"] for line in lines if line.get("response")}
    own = vectors.pop(to)
    alike = {key: cosine(own, vector) for key, vector in vectors.items()}
    return sorted(alike.items(), key=lambda one: -one[1])[:most]


def cosine(one: list[float], other: list[float]) -> float:
    # not every length of vector comes with a norm of 1
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)


if __name__ == "__main__":
    path, item, *how_many = sys.argv[1:]
    for key, likeness in nearest(Path(path), item, *map(int, how_many)):
        print(f"{likeness:.3f}  {key}")
