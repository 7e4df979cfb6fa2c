"""Redis behind named operations. Nothing outside this package speaks to it."""
