"""python -m batchq.emulator: an emulator as a process of its own. Prints its URL as one line when it is ready."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from batchq.emulator import faults
from batchq.emulator.faults import parse_fault
from batchq.emulator.limits import Window
from batchq.emulator.options import EmulatorOptions
from batchq.errors import ConfigurationError


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m batchq.emulator",
        description="A local Gemini API: point GOOGLE_GEMINI_BASE_URL at the URL it prints.",
        epilog=faults.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 takes a free one (default)")
    add("--rpm", type=int, help="requests a minute for each key and model")
    add("--tpm", type=int, help="input tokens a minute")
    add("--rpd", type=int, help="requests a day")
    add("--window", type=Window, choices=list(Window), default=Window.ROLLING, help="what a minute is")
    add("--burst", type=int, help="requests that a full bucket holds (--window bucket)")
    add("--latency", type=float, default=0.0, metavar="S", help="seconds of an answer, or their median")
    add("--latency-sigma", type=float, default=0.0, metavar="X", help="of a log-normal latency")
    add("--fault", action="append", default=[], metavar="SPEC", help="as below; may be repeated")
    add("--directives", action="store_true", help="prompts may ask for faults: [[emulate:503 first=2]]")
    add("--seed", type=int, default=0, help="of latency and faults")
    add("--answers", type=Path, metavar="FILE", help='JSON lines {"match": digest or text, "answer": …}')
    add("--bad-key", action="append", default=[], metavar="KEY", help="refused as invalid, beside bad-key")
    add("--model", action="append", default=[], metavar="NAME", help="answered to, beside the known ones")
    add("--exit-with", type=int, metavar="FD", help="end when the pipe that begins there ends")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        options = EmulatorOptions(
            rpm=given.rpm,
            tpm=given.tpm,
            rpd=given.rpd,
            window=given.window,
            burst=given.burst,
            latency_s=given.latency,
            latency_sigma=given.latency_sigma,
            faults=tuple(parse_fault(spec) for spec in given.fault),
            directives=given.directives,
            seed=given.seed,
            answers=given.answers,
            bad_keys=frozenset({"bad-key", *given.bad_key}),
            models=frozenset(given.model),
        )
        from batchq.emulator.server import serve

        serve(options, given.host, given.port, on_ready=_announce, exit_with=given.exit_with)
    except ConfigurationError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 2
    return 0


def _announce(url: str) -> None:
    sys.stdout.write(url + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
