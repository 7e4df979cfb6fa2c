"""Flower with batchq's pages: `celery -A workers flower --conf=deploy/flowerconfig.py`.

Passwords and addresses belong into variables (FLOWER_BASIC_AUTH, FLOWER_ADDRESS, …): an option would show them in
the list of processes, and this file has no secrets. docs/flower.md says what can be set.
"""

from workers.flower.config import *  # noqa: F403

# Flower's other options go here, for example:
# url_prefix = "flower"
# xheaders = True  # behind a proxy that sets X-Real-Ip and X-Scheme
