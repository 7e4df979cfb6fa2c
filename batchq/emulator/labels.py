"""Answers given beforehand: a file of JSON lines {"match": …, "answer": …}.

`match` is the sha-256 (64 hex digits) of an inlined file or of the prompt, else a text that occurs in the
prompt; the first line that fits wins, digests before texts. An answer that is no string is sent as JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from batchq.errors import ConfigurationError

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class Labels:
    by_digest: dict[bytes, str] = field(default_factory=dict)
    by_text: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, prompt: str, key: bytes, media: list[bytes]) -> str | None:
        """The text to answer with; None: nothing is written down for this prompt."""
        for digest in (*media, key):
            if digest in self.by_digest:
                return self.by_digest[digest]
        return next((answer for text, answer in self.by_text if text in prompt), None)


def load_labels(path: Path | None) -> Labels:
    """Raises ConfigurationError that names the line."""
    labels = Labels()
    if path is None:
        return labels
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as exc:
        raise ConfigurationError(f"answers={path} cannot be read: {exc}") from exc
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label = json.loads(line)
            match, answer = label["match"], label["answer"]
        except (ValueError, KeyError, TypeError):
            match = answer = None
        if not isinstance(match, str) or not match:
            raise ConfigurationError(
                f'answers={path}, line {number}: must be {{"match": a digest or a text, "answer": …}}'
            )
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        if _DIGEST.fullmatch(match.lower()):
            labels.by_digest.setdefault(bytes.fromhex(match), text)
        else:
            labels.by_text.append((match, text))
    return labels
