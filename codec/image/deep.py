"""PNG files with 16 bits a channel in colour, which Pillow cuts to 8: their samples, and all else that they hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...models.kernels.jit import kernel
from ..coders.binary import Bytes
from ..errors import DamagedFile
from .opening import PNG_START
from .samples import Samples

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by PNG's colour type
DEPTH = 16
HEAD = struct.Struct(">IIBBBBB")
"""width, height, bits of a sample, colour type, compression, filter, interlace"""
CHUNK = struct.Struct(">I4s")
EMPTY = CHUNK.pack(0, b"IDAT") + struct.pack(">I", zlib.crc32(b"IDAT"))
FILTERS = 5


def split(png: bytes) -> tuple[bytes, Samples] | None:
    """The file with an empty IDAT chunk, and its samples; None for files without 16 bits, interlaced ones and odd ones."""
    kinds: list[bytes] = []
    data: list[bytes] = []
    rest = [png[: len(PNG_START)]]
    end = len(PNG_START)
    for kind, start, end in _chunks(png):
        if kind == b"IDAT":
            rest += [EMPTY] if not data else []
            data.append(png[start + CHUNK.size : end - 4])
        else:
            rest.append(png[start:end])
        kinds += [kind] if kinds[-1:] != [kind] else []
    first = kinds.index(b"IDAT") if b"IDAT" in kinds else 0
    if (
        not png.startswith(PNG_START)
        or kinds[:1] != [b"IHDR"]
        or end != len(png)
        or kinds.count(b"IDAT") != 1
        or kinds[-1] != b"IEND"
        or not first
    ):
        return None
    width, height, depth, colour, *others = HEAD.unpack_from(png, len(PNG_START) + CHUNK.size)
    if depth != DEPTH or colour not in CHANNELS or any(others):
        return None
    size = (height, 1 + 2 * CHANNELS[colour] * width)
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(b"".join(data), size[0] * size[1] + 1)
    except zlib.error:
        return None
    if len(plain) != size[0] * size[1] or not inflater.eof or inflater.unused_data:
        return None
    rows = np.array(np.frombuffer(plain, np.uint8)).reshape(size)
    if rows[:, 0].max() >= FILTERS:
        return None
    _unfilter(rows, 2 * CHANNELS[colour])
    samples = np.ascontiguousarray(rows[:, 1:]).view(">u2").astype(np.uint16).reshape(height, width, CHANNELS[colour])
    return b"".join(rest), samples


def join(rest: bytes, samples: Samples, level: int) -> bytes:
    """The inverse: a PNG file with the same samples and chunks. level: of zlib. Raises DamagedFile."""
    chunks = list(_chunks(rest))
    place = next((start for kind, start, end in chunks if rest[start:end] == EMPTY), None)
    head = HEAD.unpack_from(rest, len(PNG_START) + CHUNK.size) if chunks and len(rest) >= len(PNG_START) + CHUNK.size + HEAD.size else ()
    if place is None or head[:4] != (*samples.shape[1::-1], DEPTH, {c: colour for colour, c in CHANNELS.items()}[samples.shape[2]]):
        raise DamagedFile("the section PNGC is not what this format allows")
    rows = np.ascontiguousarray(samples).astype(">u2", order="C").view(np.uint8).reshape(len(samples), -1)
    up = rows - np.concatenate([np.zeros((1, rows.shape[1]), np.uint8), rows[:-1]])
    data = b"IDAT" + zlib.compress(np.concatenate([np.full((len(rows), 1), 2, np.uint8), up], 1).tobytes(), level)
    made = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return rest[:place] + made + rest[place + len(EMPTY) :]


def png_of(samples: Samples) -> bytes:
    """A PNG file of samples (height, width, 1 to 4) with nothing beside them."""
    height, width, channels = samples.shape
    colour = next(colour for colour, count in CHANNELS.items() if count == channels)
    chunks = [b"IHDR" + HEAD.pack(width, height, DEPTH, colour, 0, 0, 0), b"IDAT", b"IEND"]
    rest = b"".join(struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return join(PNG_START + rest, samples, 9)


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of every chunk that is whole."""
    at = len(PNG_START)
    while at + 12 <= len(png):
        length, kind = CHUNK.unpack_from(png, at)
        if at + 12 + length > len(png):
            return
        yield kind, at, at + 12 + length
        at += 12 + length


@kernel("void(uint8[:,::1], int64)")
def _unfilter(rows: Bytes, distance: int) -> None:
    """Undo PNG's filters in rows, each behind the number of its filter."""
    height, width = rows.shape
    for y in range(height):
        kind = rows[y, 0]
        for x in range(1, width):
            left: Any = 0
            up: Any = 0
            corner: Any = 0
            if x > distance:
                left = np.int64(rows[y, x - distance])
            if y > 0:
                up = np.int64(rows[y - 1, x])
            if x > distance and y > 0:
                corner = np.int64(rows[y - 1, x - distance])
            guess = 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) >> 1
            elif kind == 4:
                a, b, c = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                guess = left if a <= b and a <= c else up if b <= c else corner
            rows[y, x] = (np.int64(rows[y, x]) + guess) & 255
