"""Names of packages that load them at their first use."""

from __future__ import annotations

from types import ModuleType

import pytest

import batchq
from batchq import emulator, formats


@pytest.mark.parametrize("package", [batchq, formats, emulator], ids=lambda package: package.__name__)
def test_each_name_that_a_package_promises_is_there(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        _ = package.nothing
