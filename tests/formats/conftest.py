from __future__ import annotations

from pathlib import Path

import pytest
from formats_helpers import Inputs


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    folder = tmp_path / "in"
    folder.mkdir()
    return Inputs(folder)
