"""How long a recording is, by its own headers: Gemini counts 32 tokens for a second of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from batchq.core.boxes import boxes, find

CUT_OFF = "it is broken or cut off"
NO_SOUND = "there is no sound in it"

_FRAMES_READ = 500  # of an mp3 or aac, from which the rest is told: 13 s


def seconds(data: bytes, kind: str) -> float | None:
    """`kind` is the MIME type; None: it does not say how long it is. Raises ValueError for what is broken."""
    read = _READERS.get(kind)
    try:
        return read(data) if read is not None else None
    except IndexError:
        raise ValueError(CUT_OFF) from None


def _wav(data: bytes) -> float:
    rate, at = 0, 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(data[at + 16 : at + 20], "little")  # bytes a second
        elif name == b"data":
            left = len(data) - at - 8
            if size in (0, 0xFFFFFFFF):  # a recorder that never came back to write it
                size = left
            if size > left:
                raise ValueError(CUT_OFF)
            if not rate or not size:
                raise ValueError(NO_SOUND)
            return size / rate
        at += 8 + size + size % 2
    raise ValueError(CUT_OFF)


def _flac(data: bytes) -> float | None:
    if data[4] & 0x7F or len(data) < 42:
        raise ValueError(CUT_OFF)
    packed = int.from_bytes(data[18:26])
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    return samples / rate if rate and samples else None


def _ogg(data: bytes) -> float | None:
    last = data.rfind(b"OggS")
    if not _is_whole_page(data, last):
        raise ValueError(CUT_OFF)
    samples = int.from_bytes(data[last + 6 : last + 14], "little", signed=True)
    first = 27 + data[26]
    if data[first : first + 8] == b"OpusHead":
        rate = 48_000
    elif data[first : first + 7] == b"\x01vorbis":
        rate = int.from_bytes(data[first + 12 : first + 16], "little")
    else:
        return None
    return samples / rate if rate and samples > 0 else None


def _is_whole_page(data: bytes, at: int) -> bool:
    segments = data[at + 26]
    lengths = data[at + 27 : at + 27 + segments]
    return len(lengths) == segments and at + 27 + segments + sum(lengths) <= len(data)


def _mp4(data: bytes) -> float | None:
    for _ in boxes(data):  # raises where the last is cut off
        pass
    header = find(data, b"moov", b"mvhd")
    if header is None:
        raise ValueError(NO_SOUND)
    wide = data[header.start] == 1
    at = header.start + (20 if wide else 12)
    scale = int.from_bytes(data[at : at + 4])
    length = int.from_bytes(data[at + 4 : at + (12 if wide else 8)])
    return length / scale if scale and length else None


def _mp3(data: bytes) -> float:
    at = _after_id3(data)
    first = next(_mp3_frames(data, at), None)
    if first is None:
        raise ValueError(NO_SOUND)
    head = data[first.at : first.at + first.size]
    for name in (b"Xing", b"Info"):  # an encoder's own count
        if (tag := head.find(name)) > 0 and head[tag + 7] & 1:
            return int.from_bytes(head[tag + 8 : tag + 12]) * first.seconds
    return _told_by_a_part(_mp3_frames(data, at), len(data) - first.at)


def _aac(data: bytes) -> float:
    at = _after_id3(data)
    return _told_by_a_part(_aac_frames(data, at), len(data) - at)


def _after_id3(data: bytes) -> int:
    if data[:3] != b"ID3":
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


class _Frame:
    __slots__ = ("at", "seconds", "size")

    def __init__(self, at: int, size: int, seconds: float) -> None:
        self.at, self.size, self.seconds = at, size, seconds


def _told_by_a_part(frames: Iterator[_Frame], size: int) -> float:
    read = [frame for frame, _ in zip(frames, range(_FRAMES_READ), strict=False)]
    if not read:
        raise ValueError(NO_SOUND)
    played = sum(frame.seconds for frame in read)
    return played if len(read) < _FRAMES_READ else played * size / sum(frame.size for frame in read)


_KBITS = (  # of MPEG 1 and of 2 and 2.5, layer III
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_MP3_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_AAC_HZ = (
    96_000,
    88_200,
    64_000,
    48_000,
    44_100,
    32_000,
    24_000,
    22_050,
    16_000,
    12_000,
    11_025,
    8_000,
    7_350,
)


def _mp3_frames(data: bytes, at: int) -> Iterator[_Frame]:
    at = data.find(b"\xff", at)
    while 0 <= at < len(data) - 4:
        version, layer = data[at + 1] >> 3 & 3, data[at + 1] >> 1 & 3
        rate, hz = data[at + 2] >> 4, data[at + 2] >> 2 & 3
        if (
            data[at] != 0xFF
            or data[at + 1] < 0xE0
            or version == 1
            or layer != 1
            or rate in (0, 15)
            or hz == 3
        ):
            return
        samples, kbits = (1152, _KBITS[0]) if version == 3 else (576, _KBITS[1])
        frequency = _MP3_HZ[version][hz]
        size = samples // 8 * kbits[rate] * 1000 // frequency + (data[at + 2] >> 1 & 1)
        yield _Frame(at, size, samples / frequency)
        at += size


def _aac_frames(data: bytes, at: int) -> Iterator[_Frame]:
    while at < len(data) - 7:
        hz = data[at + 2] >> 2 & 15
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        if data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0 or hz >= len(_AAC_HZ) or size < 7:
            return
        yield _Frame(at, size, 1024 / _AAC_HZ[hz])
        at += size


_READERS: dict[str, Callable[[bytes], float | None]] = {
    "audio/wav": _wav,
    "audio/flac": _flac,
    "audio/ogg": _ogg,
    "audio/mp4": _mp4,
    "audio/mp3": _mp3,
    "audio/aac": _aac,
}
