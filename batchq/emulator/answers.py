"""What the emulator answers: pure functions of what was asked, which tests import to know what to expect."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256, shake_256
from typing import Any

from batchq.emulator.schema_answers import fit

SHOWN = 60  # characters of the prompt in a plain answer
CHARACTERS_A_TOKEN = 4

DIMENSIONS = {"text-embedding-004": 768, "text-embedding-005": 768}
DEFAULT_DIMENSIONS = 3072


def prompt_key(prompt: str, *, system: str | None = None, media: Iterable[bytes] = ()) -> bytes:
    """The sha-256 by which a request's content is known: of the prompt alone where there is nothing else.

    `prompt` is the text parts of all contents, joined by newlines; `media` the inlined bytes, in order.
    """
    return digest_of(prompt, system, [sha256(data).digest() for data in media])


def digest_of(prompt: str, system: str | None, media_digests: Iterable[bytes]) -> bytes:
    """prompt_key, of media already digested."""
    digest = sha256(prompt.encode("utf-8", "surrogatepass"))
    if system:
        digest.update(b"\0system\0" + system.encode("utf-8", "surrogatepass"))
    for one in media_digests:
        digest.update(b"\0media\0" + one)
    return digest.digest()


def expected_text(prompt: str, *, system: str | None = None, media: Iterable[bytes] = ()) -> str:
    """The plain answer to a prompt (before maxOutputTokens or a stop sequence cuts it)."""
    return echo(prompt, prompt_key(prompt, system=system, media=media))


def echo(prompt: str, key: bytes) -> str:
    return f"echo {key.hex()[:16]}: {' '.join(prompt[: 2 * SHOWN].split())[:SHOWN]}"


def expected_json(
    schema: Mapping[str, Any], prompt: str, *, system: str | None = None, media: Iterable[bytes] = ()
) -> Any:
    """The answer under a schema, parsed."""
    return fit(schema, prompt_key(prompt, system=system, media=media))


def structured(schema: Mapping[str, Any] | None, prompt: str, key: bytes) -> str:
    """The text of an answer in JSON; without a schema an object that names the prompt."""
    if schema is None:
        return json.dumps({"echo": key.hex()[:16], "prompt": " ".join(prompt[: 2 * SHOWN].split())[:SHOWN]})
    return json.dumps(fit(schema, key), ensure_ascii=False)


def text_tokens(characters: int) -> int:
    """Gemini's rule of thumb for a text's length: four characters a token, at least one."""
    return max(1, -(-characters // CHARACTERS_A_TOKEN))


def thoughts(model: str, budget: int | None, key: bytes) -> int:
    """Tokens a model thinks before it answers: none for flash-lite unless a budget asks for it, few for others.

    Budget 0 turns thinking off where it can be turned off (not in pro); None and -1 leave it to the model.
    """
    if budget == 0 and "-pro" not in model:
        return 0
    if "lite" in model and (budget is None or budget == 0):
        return 0
    drawn = 8 + key[0] % 24
    return min(drawn, budget) if budget is not None and budget > 0 else drawn


def expected_embedding(text: str, *, model: str, dimensions: int | None = None) -> list[float]:
    """The vector of a content with that text; of length 1, and another for another text or model."""
    return json.loads(vector(prompt_key(text), model, dimensions))  # type: ignore[no-any-return]


def vector(key: bytes, model: str, dimensions: int | None = None) -> str:
    """An embedding as a JSON array: random signs of eight fixed sizes, rendered a byte of the digest at a time.

    Drawing and printing 3,072 floats would take milliseconds of the loop; this takes microseconds.
    """
    size = dimensions or dimensions_of(model)
    signs = shake_256(key + model.encode()).digest(-(-size // 8))
    rendered = _eights(size)
    if size % 8 == 0:
        return "[" + ",".join([rendered[byte] for byte in signs]) + "]"
    whole = ",".join([rendered[byte] for byte in signs]).split(",")[:size]
    return "[" + ",".join(whole) + "]"


IMAGE_SIDE = 32  # pixels
IMAGE_TOKENS = {"gemini-2.5-flash-image": 1_290}  # of one drawn image; 1,120 for others
OTHER_IMAGE_TOKENS = 1_120


def expected_image(prompt: str, *, system: str | None = None, media: Iterable[bytes] = ()) -> bytes:
    """The png that is drawn for a prompt."""
    return drawn(prompt_key(prompt, system=system, media=media))


def drawn(key: bytes) -> bytes:
    """A png of stripes in the colours of a digest: another for another prompt."""
    rows = b"".join(
        b"\0"
        + bytes(key[(row // 4 + band) % 30 + channel] for band in range(IMAGE_SIDE) for channel in range(3))
        for row in range(IMAGE_SIDE)
    )
    header = struct.pack(">IIBBBBB", IMAGE_SIDE, IMAGE_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def dimensions_of(model: str) -> int:
    return DIMENSIONS.get(model, DEFAULT_DIMENSIONS)


@lru_cache(maxsize=64)
def _eights(size: int) -> tuple[str, ...]:
    """Eight numbers for each byte: bit i is the sign of the i-th size; all of a vector make length 1."""
    shape = [0.4 + 0.15 * step for step in range(8)]
    squares = sum(shape[place % 8] ** 2 for place in range(size))
    sizes = [f"{value / math.sqrt(squares):.8f}" for value in shape]
    return tuple(
        ",".join(("-" if byte >> bit & 1 else "") + sizes[bit] for bit in range(8)) for byte in range(256)
    )
