"""Log lines that give nothing away: neither a secret nor, in the message of an unexpected error, a prompt."""

from __future__ import annotations

import logging
from collections.abc import Iterable

MASK = "***"
PLACES = 8  # of a traceback


class Discreet(logging.Filter):
    """Masks secrets in a record's message and traceback."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if any(secret in text for secret in self._secrets):
            record.msg, record.args = self._masked(text), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = self._masked(logging.Formatter().formatException(record.exc_info))
        return True

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def trace_of(error: BaseException) -> str:
    """Type and places of an unexpected error, innermost last, without its message: that may quote a prompt."""
    places, tb = [], error.__traceback__
    while tb is not None:
        code = tb.tb_frame.f_code
        places.append(f"{code.co_filename}:{tb.tb_lineno} {code.co_name}")
        tb = tb.tb_next
    return f"{type(error).__name__} at {' > '.join(places[-PLACES:])}"
