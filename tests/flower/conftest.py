"""One worker and a few Flowers for the whole folder, started together; the tests only look."""

from flower_world import world

__all__ = ["world"]
