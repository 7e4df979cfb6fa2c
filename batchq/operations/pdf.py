"""What keeps a PDF from being read, as far as it can be told without drawing it."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MOST_PAGES = 1_000  # that Gemini reads of one document
LONGEST_SIDE = 14_400  # points, 5 m: what PDF itself allows
TAIL = 2_048  # bytes at the end in which the trailer must stand; readers look through 1,024
MOST_UNPACKED = 8_000_000  # bytes of packed objects that are looked at

_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_NUMBER = rb"\s*(-?\d+(?:\.\d*)?)"
_SHEET = re.compile(rb"/(?:MediaBox|CropBox)\s*\[" + 4 * _NUMBER)
_PACKED = re.compile(rb"/Type\s*/ObjStm\b.{0,300}?stream\r?\n", re.DOTALL)
_ENCRYPTED = re.compile(rb"/Encrypt\s+(\d+)\s+(\d+)\s+R")


def problem(data: bytes) -> str | None:
    """What is wrong with it and what to do; None: nothing that can be told here.

    A PDF that only forbids printing or copying opens without a password, and is read.
    """
    tail = data[-TAIL:]
    if b"%%EOF" not in tail and b"startxref" not in tail:
        return "the PDF is cut off, its trailer is missing: send the whole file"
    if needs_password(data):
        return "the PDF is locked with a password: save it without one"
    pages = 0
    for part in _plain(data):
        pages += len(_PAGE.findall(part))
        for sheet in _SHEET.findall(part):
            left, low, right, high = map(float, sheet)
            if max(abs(right - left), abs(high - low)) > LONGEST_SIDE:
                return (
                    f"a page is over {LONGEST_SIDE:,} points (5 m) long: scale it down, or cut it into pages"
                )
    if pages > MOST_PAGES:
        return f"it has {pages:,} pages, more than the {MOST_PAGES:,} that Gemini reads: split it"
    return None


def _plain(data: bytes) -> Iterator[bytes]:
    """The file, and what its streams of objects hold."""
    yield data
    room = MOST_UNPACKED
    for found in _PACKED.finditer(data):
        unpack = zlib.decompressobj()
        try:
            part = unpack.decompress(data[found.end() : found.end() + MOST_UNPACKED], room)
        except zlib.error:
            continue  # packed in another way, or encrypted
        yield part
        room -= len(part)
        if room <= 0:
            return


# -- locked: PDF 32000-2, 7.6.4: does the empty password open it? --------------------------------------------

_PAD = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")


@dataclass(frozen=True, slots=True)
class _Lock:
    """The standard security handler's entries of the same names."""

    revision: int
    o: bytes
    u: bytes
    permissions: int
    length: int  # bytes of the key
    file_id: bytes
    with_metadata: bool


def needs_password(data: bytes) -> bool:
    """Whether it opens with a password only. What cannot be told counts as open: the provider will say."""
    references = list(_ENCRYPTED.finditer(data))
    if not references:
        return False
    try:
        lock = _lock_of(data, references[-1])  # a file may have been saved over
        return lock is not None and not _is_open(lock)
    except (ValueError, LookupError):
        return False


def _lock_of(data: bytes, reference: re.Match[bytes]) -> _Lock | None:
    found = re.search(rb"(?<!\d)%s\s+%s\s+obj(.*?)endobj" % reference.groups(), data, re.DOTALL)
    if found is None or b"/Standard" not in found[1]:
        return None
    entries = found[1]
    first_id = re.search(rb"/ID\s*\[\s*(?=[<(])", data)
    return _Lock(
        _number(entries, rb"R", 0),
        _string(entries, rb"O"),
        _string(entries, rb"U"),
        _number(entries, rb"P", 0) & 0xFFFFFFFF,
        min(16, _number(re.sub(rb"/CF\s*<<.*?>>\s*>>", b"", entries, flags=re.DOTALL), rb"Length", 40) // 8),
        _text_at(data, first_id.end()) if first_id else b"",
        re.search(rb"/EncryptMetadata\s+false", entries) is None,
    )


def _number(entries: bytes, name: bytes, default: int) -> int:
    found = re.search(rb"/%s\s+(-?\d+)" % name, entries)
    return int(found[1]) if found else default


def _string(entries: bytes, name: bytes) -> bytes:
    found = re.search(rb"/%s\s*(?=[<(])" % name, entries)
    if found is None:
        raise ValueError(name)
    return _text_at(entries, found.end())


_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"\n": b"", b"\r": b""}
_LITERAL = re.compile(rb"\\([0-7]{1,3}|\r\n|.)|([()])|([^\\()]+)", re.DOTALL)


def _text_at(data: bytes, at: int) -> bytes:
    """A PDF string, in hexadecimal or in parentheses."""
    if data[at : at + 1] == b"<":
        return bytes.fromhex(data[at + 1 : data.index(b">", at)].decode("ascii"))
    out, depth = bytearray(), 0
    for escaped, parenthesis, plain in (found.groups() for found in _LITERAL.finditer(data, at)):
        if parenthesis:
            depth += 1 if parenthesis == b"(" else -1
            if depth == 0:
                return bytes(out[1:])
            out += parenthesis
        elif escaped and escaped.isdigit():
            out.append(int(escaped, 8) & 0xFF)
        elif escaped:
            out += _ESCAPES.get(escaped, b"" if escaped == b"\r\n" else escaped)
        else:
            out += plain
    raise ValueError("a string without end")


def _is_open(lock: _Lock) -> bool:
    if lock.revision == 5:
        return hashlib.sha256(lock.u[32:40]).digest() == lock.u[:32]
    if lock.revision == 6:
        return _hash_of_revision_6(lock.u[32:40]) == lock.u[:32]
    if lock.revision not in (2, 3, 4):
        raise ValueError(lock.revision)
    length = 5 if lock.revision == 2 else lock.length
    seed = _PAD + lock.o[:32] + lock.permissions.to_bytes(4, "little") + lock.file_id
    if lock.revision == 4 and not lock.with_metadata:
        seed += b"\xff\xff\xff\xff"
    key = _md5(seed)
    if lock.revision == 2:
        return _rc4(key[:5], _PAD) == lock.u[:32]
    for _ in range(50):
        key = _md5(key[:length])
    said = _md5(_PAD + lock.file_id)
    for turn in range(20):
        said = _rc4(bytes(byte ^ turn for byte in key[:length]), said)
    return said == lock.u[:16]


def _hash_of_revision_6(salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key, turn, last = hashlib.sha256(salt).digest(), 0, 0
    while turn < 64 or last > turn - 32:
        encryptor = Cipher(algorithms.AES(key[:16]), modes.CBC(key[16:32])).encryptor()
        mixed = encryptor.update(key * 64)  # the password, which is empty, stands before each
        key = hashlib.new(("sha256", "sha384", "sha512")[sum(mixed[:16]) % 3], mixed).digest()
        turn, last = turn + 1, mixed[-1]
    return key[:32]


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
