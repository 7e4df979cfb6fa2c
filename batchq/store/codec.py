"""How shards, outcomes and entries look as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zstandard

from batchq.core.records import Attempt, History, Outcome

LEVEL = 3  # of zstd; higher levels cost more CPU an item than the memory they save is worth


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # json.dumps makes one a call


def dump(value: Any) -> bytes:
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:  # a lone surrogate in an answer: only its escape survives UTF-8
        return json.dumps(value, separators=(",", ":")).encode()


def compress(data: bytes) -> bytes:
    # A context a call: kept ones are not for two threads at once, and under gevent a thread-local is a
    # greenlet-local. Shards are large enough for it not to show.
    packed: bytes = zstandard.ZstdCompressor(level=LEVEL).compress(data)
    return packed


def decompress(data: bytes) -> bytes:
    plain: bytes = zstandard.ZstdDecompressor().decompress(data)
    return plain


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as its shard holds it. `ordinal` is its place in the input, from 0."""

    id: str
    ordinal: int
    input: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shard:
    """A consecutive run of one lane's items."""

    number: int
    base: int  # position of the first item
    lane: int
    items: tuple[StoredItem, ...]
    size: int  # bytes of the JSON text

    def at(self, position: int) -> StoredItem:
        return self.items[position - self.base]


def pack_shard(base: int, lane: int, ordinals: Sequence[int], items: Iterable[bytes]) -> bytes:
    """`items` are JSON texts `[id, input]`, made as they came; ordinals that follow each other are one number."""
    first = ordinals[0]
    consecutive = ordinals[-1] - first == len(ordinals) - 1
    head = dump([base, lane, first if consecutive else list(ordinals)])
    return compress(b"[" + head + b",[" + b",".join(items) + b"]]")


def unpack_shard(number: int, blob: bytes) -> Shard:
    text = decompress(blob)
    (base, lane, ordinals), items = json.loads(text)
    if isinstance(ordinals, int):
        ordinals = range(ordinals, ordinals + len(items))
    return Shard(
        number,
        base,
        lane,
        tuple(StoredItem(item[0], ordinal, item[1]) for ordinal, item in zip(ordinals, items, strict=True)),
        len(text),
    )


PLAIN_LIMIT = 2048  # a small outcome waits as it is for the few seconds until its shard is complete


def pack_outcome(outcome: Outcome) -> bytes:
    plain = dump(outcome.wire())
    return plain if len(plain) <= PLAIN_LIMIT else compress(plain)


def raw_outcome(blob: bytes) -> bytes:
    """The JSON text of an outcome, compressed or not."""
    return blob if blob[:1] == b"{" else decompress(blob)


def pack_history(history: History) -> bytes:
    return compress(dump([attempt.wire() for attempt in history]))


def unpack_history(blob: bytes) -> History:
    return tuple(Attempt.from_wire(line) for line in json.loads(decompress(blob)))


def pack_outcomes(texts: Sequence[bytes]) -> bytes:
    """A shard's outcomes, JSON texts in order (`null`: none, the item was cancelled)."""
    return compress(b"[" + b",".join(texts) + b"]")


def unpack_outcomes(blob: bytes) -> list[Mapping[str, Any] | None]:
    outcomes: list[Mapping[str, Any] | None] = json.loads(decompress(blob))
    return outcomes
