"""google-genai in a loop, as a script of one's own would have it: python -m bench.bare_loop CALLS SLOTS PROMPT."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

from gevent.pool import Pool  # noqa: E402
from google import genai  # noqa: E402

from bench.stage import CONFIG, MODEL  # noqa: E402


def main() -> None:
    calls, slots = int(sys.argv[1]), int(sys.argv[2])
    client = genai.Client()
    client.models.generate_content(model=MODEL, contents="warm up")
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()

    def ask(number: int) -> None:
        client.models.generate_content(model=MODEL, contents=f"{sys.argv[3]} {number}", config=CONFIG)

    for _ in Pool(slots).imap_unordered(ask, range(calls)):
        pass
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall_s": time.perf_counter() - began, "cpu_s": spent}))


main()
