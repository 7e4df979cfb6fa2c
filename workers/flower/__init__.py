"""Two pages in Flower: Jobs and Dead letters, read-only, with the same login and look as Flower's own.

`install()` adds them; Flower's configuration file (deploy/flowerconfig.py) calls it. Flower without that file is
Flower as it comes.
"""

from workers.flower.install import install

__all__ = ["install"]
