"""Flower's pages in a real browser; skipped, with the reason, where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "flower"))

from chromium import Chromium, Page, find
from flower_world import LOGIN, World, world

__all__ = ["world"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = pytest.mark.skip(reason="no Chromium on this machine (Debian: apt-get install chromium)")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if find() is None:
                item.add_marker(missing)


@pytest.fixture(scope="package")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = find()
    assert program is not None
    browser = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.end()


@pytest.fixture
def page(chromium: Chromium, world: World, tmp_path: Path) -> Iterator[Page]:
    """A tab with the login of the guarded Flower. A picture of its end lies in the test's folder."""
    page = chromium.page(login=LOGIN)
    yield page
    page.picture(tmp_path / "end.png")
    page.close()
