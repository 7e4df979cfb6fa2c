"""How many generated histories a property is tried on: a few in `make test`, many under the marker `scale`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

FEW, MANY = 12, 250

on_histories = pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.scale)])


def histories(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def holds(examples: int, what: Callable[..., None]) -> None:
    """Try a property that @given made."""
    histories(examples)(what)()
