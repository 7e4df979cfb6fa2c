"""Templates of ours beside Flower's, and our entries in Flower's navigation bar on every page."""

from __future__ import annotations

import logging
from pathlib import Path

from tornado.template import Loader, Template

log = logging.getLogger("batchq")

OURS = Path(__file__).parent / "pages"
NAVBAR = "navbar.html"
ENTRIES = OURS / "navbar_entries.html"
END_OF_ENTRIES = "</ul>"  # of the first list in Flower's bar, which holds Workers, Tasks and Broker


class PagesLoader(Loader):
    """Flower's templates, ours in front, each escaping what it shows."""

    def _create_template(self, name: str) -> Template:
        own = OURS / name
        path = own if own.is_file() else Path(self.root) / name
        text = path.read_text(encoding="utf-8")
        return Template(with_entries(text) if name == NAVBAR else text, name=name, loader=self)


def with_entries(navbar: str) -> str:
    """Flower's bar with our pages behind its own; as it was, with a warning, where its shape is not known."""
    before, end, after = navbar.partition(END_OF_ENTRIES)
    if not end or "nav-item" not in before:
        log.warning(
            "this Flower's navigation bar has another shape: find the pages at /jobs and /dead-letters"
        )
        return navbar
    return before + ENTRIES.read_text(encoding="utf-8") + end + after
