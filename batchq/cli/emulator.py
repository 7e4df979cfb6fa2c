"""batchq emulator: a local Gemini API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchq.cli.options import json_option


@click.command(
    "emulator",
    epilog="\b\nExamples:\n  batchq emulator --port 8089\n  batchq emulator --rpm 600 --latency 0.4\n"
    "  batchq emulator --fault 503:0.1 --fault 429@0-60\n\n"
    "A fault is KIND[:RATE][,first=N][,match=TEXT][@FROM-TO]; `python -m batchq.emulator --help` lists the kinds.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port; 0 takes a free one (default).")
@click.option("--rpm", type=click.IntRange(1), help="Requests a minute for each key and model.")
@click.option("--tpm", type=click.IntRange(1), help="Input tokens a minute.")
@click.option("--rpd", type=click.IntRange(1), help="Requests a day.")
@click.option(
    "--mode",
    type=click.Choice(["rolling", "fixed", "bucket"]),
    default="rolling",
    show_default=True,
    help="What a minute is.",
)
@click.option("--burst", type=click.IntRange(1), help="Requests that a full bucket holds (--mode bucket).")
@click.option(
    "--latency", type=float, default=0.0, metavar="S", help="Seconds of an answer, or their median."
)
@click.option("--latency-sigma", type=float, default=0.0, metavar="X", help="Of a log-normal latency.")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="What goes wrong; may be repeated.")
@click.option(
    "--answers", type=click.Path(path_type=Path), metavar="FILE", help="JSON lines of right answers."
)
@click.option("--model", "models", multiple=True, metavar="NAME", help="Answered to, beside the known ones.")
@click.option("--seed", type=int, default=0, help="Of latency and faults.")
@json_option
def emulator_command(
    host: str,
    port: int,
    mode: str,
    latency: float,
    faults: tuple[str, ...],
    models: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Run a local Gemini API until Ctrl-C. google-genai and batchq reach it by GOOGLE_GEMINI_BASE_URL."""
    from batchq.cli import say
    from batchq.emulator import EmulatorOptions, Window, parse_fault, serve
    from batchq.errors import ConfigurationError, InputError

    def ready(url: str) -> None:
        if as_json:
            say.document({"url": url})
        else:
            say.out(url)
        say.note(f"export GOOGLE_GEMINI_BASE_URL={url}")

    try:
        options = EmulatorOptions(
            window=Window(mode),
            latency_s=latency,
            faults=tuple(parse_fault(spec) for spec in faults),
            models=frozenset(models),
            **given,
        )
    except ConfigurationError as exc:
        raise InputError(str(exc)) from None
    serve(options, host, port, on_ready=ready)
