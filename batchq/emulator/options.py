"""What an emulator is told: one frozen record, checked when it is built, changed as a whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from batchq.emulator.faults import Fault, parse_fault
from batchq.emulator.limits import Limits, Window
from batchq.emulator.shelf import Room
from batchq.errors import ConfigurationError

_SECONDS = ("latency_s", "latency_sigma", "file_processing_s", "file_ttl_s")
_NUMBERS = ("seed", "max_request_bytes", "max_file_bytes", "max_stored_bytes", "keep_calls", "keep_prompts")


@dataclass(frozen=True)
class EmulatorOptions:
    """Quotas, latency, faults and answers of an emulator. The default refuses what Gemini refuses, no more.

    Limits hold for each (project, model): a project is an API key, or Vertex's project. A text of a batch of
    embeddings counts as a request, as at Google. Raises ConfigurationError for what makes no sense.
    """

    rpm: int | None = None  # requests a minute; None: no limit
    tpm: int | None = None  # input tokens a minute
    rpd: int | None = None  # requests a day, which begins at midnight UTC-8
    model_limits: Mapping[str, Limits] = field(default_factory=dict)  # in place of the three above
    window: Window = Window.ROLLING
    burst: int | None = None  # requests a full bucket holds; None: rpm. Only for Window.BUCKET
    latency_s: float = 0.0  # of an answer; the median where sigma is not 0
    latency_sigma: float = 0.0  # of the log-normal distribution; 0: constant
    faults: tuple[Fault, ...] = ()
    directives: bool = False  # whether prompts may ask for faults: [[emulate:503 first=2]]
    seed: int = 0  # of latency and faults
    bad_keys: frozenset[str] = frozenset({"bad-key"})  # keys and tokens refused as invalid
    models: frozenset[str] = frozenset()  # names to answer to, beside those of the price table
    answers: Path | None = None  # labels: JSON lines {"match": …, "answer": …}
    max_request_bytes: int = 20 * 1024 * 1024
    file_processing_s: float = 0.0  # until an uploaded file may be named in a request
    file_ttl_s: float = 48 * 3600.0  # then it is deleted
    max_file_bytes: int = 2_000_000_000  # of one uploaded file
    max_stored_bytes: int = 20_000_000_000  # of all of a project
    keep_calls: int = 10_000  # the latest ones, for /emulator/calls
    keep_prompts: int = 2_000_000  # distinct prompts that are counted; later ones are only counted in all

    def __post_init__(self) -> None:
        _ = self.limits
        if self.burst is not None and self.window is not Window.BUCKET:
            raise ConfigurationError(
                f"burst={self.burst} is of the bucket window only: --mode bucket (in Python, window=Window.BUCKET)"
            )
        if self.burst is not None and self.burst < 1:
            raise ConfigurationError(f"burst={self.burst} must be at least 1")
        for name in _SECONDS:
            if not 0 <= getattr(self, name) < 1e6:
                raise ConfigurationError(f"{name}={getattr(self, name)} must be a number of seconds from 0")

    @cached_property
    def limits(self) -> Limits:
        return Limits(self.rpm, self.tpm, self.rpd)

    @property
    def room(self) -> Room:
        return Room(self.file_processing_s, self.file_ttl_s, self.max_file_bytes, self.max_stored_bytes)

    def limits_of(self, model: str) -> Limits:
        return self.model_limits.get(model, self.limits) if self.model_limits else self.limits

    def changed(self, changes: Mapping[str, Any]) -> EmulatorOptions:
        """These options with some replaced, each as its field or as JSON writes it (faults as specs, window
        by name). Raises ConfigurationError, naming the option."""
        known = {entry.name for entry in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise ConfigurationError(
                    f"{name!r} is no option of the emulator; there are {', '.join(sorted(known))}"
                )
        return dataclasses.replace(self, **{name: _read(name, value) for name, value in changes.items()})


def _read(name: str, value: Any) -> Any:
    try:
        if name == "window":
            return Window(value)
        if name == "faults":
            return tuple(parse_fault(one) if isinstance(one, str) else one for one in value)
        if name in ("bad_keys", "models"):
            return frozenset(value)
        if name == "answers":
            return None if value is None else Path(value)
        if name == "model_limits":
            return {
                model: limits if isinstance(limits, Limits) else Limits(**limits)
                for model, limits in value.items()
            }
        if name in _SECONDS:
            return float(value)
        if name in ("rpm", "tpm", "rpd", "burst"):
            return None if value is None else _whole(value)
        if name in _NUMBERS:
            return _whole(value)
        if name == "directives" and isinstance(value, bool):
            return value
    except (TypeError, ValueError, AttributeError):
        pass
    raise ConfigurationError(f"{name}={json.dumps(value, default=str)} is not what that option takes")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value
