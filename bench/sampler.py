"""Where a worker's processor time goes, by sampling: put this module into BATCHQ_INCLUDE of the worker.

From SIGUSR2 on, SIGPROF strikes each 5 ms of processor time; the sample goes to the innermost frame of a known package, so that
what the standard library does for httpx counts as httpx's; apart is counted what ran in that package's own files. The counts are written to BENCH_SAMPLES each second.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from types import FrameType

EACH_S = 0.005
PARTS = {  # a folder in a frame's file name → whose time it is
    "/batchq/": "batchq",
    "/workers/": "batchq",
    "/celery/": "Celery",
    "/kombu/": "Celery",
    "/vine/": "Celery",
    "/billiard/": "Celery",
    "/redis/": "Redis client",
    "/google/": "google-genai",
    "/pydantic/": "google-genai",
    "/httpx2/": "HTTP",
    "/httpcore2/": "HTTP",
    "/h11/": "HTTP",
    "/gevent/": "gevent",
}
OPERATION = "/operations_under_test"  # the work itself

_seen: Counter[str] = Counter()
_own: Counter[str] = Counter()  # without the standard library
_ours: Counter[str] = Counter()


def _sample(_number: int, frame: FrameType | None) -> None:
    inner = frame
    while inner is not None:
        name = inner.f_code.co_filename
        part = next((part for folder, part in PARTS.items() if folder in name), None)
        if part is not None:
            _seen[part] += 1
            _own[part] += inner is frame
            if part == "batchq":
                _ours[f"{'/'.join(name.rsplit('/', 2)[-2:])}:{inner.f_code.co_name}"] += 1
            break
        inner = inner.f_back
    else:
        _seen["other"] += 1
    if sum(_seen.values()) % round(1 / EACH_S) == 0:
        Path(os.environ["BENCH_SAMPLES"]).write_text(
            json.dumps({"parts": _seen, "own": _own, "ours": _ours.most_common(12)})
        )


if "BENCH_SAMPLES" in os.environ:
    signal.signal(signal.SIGPROF, _sample)
    signal.signal(
        signal.SIGUSR2, lambda _number, _frame: signal.setitimer(signal.ITIMER_PROF, EACH_S, EACH_S)
    )
