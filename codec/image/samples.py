"""Our own conventional lossless coder, for samples that neither models nor PNG do well: 16 bits, and CMYK.

A sample is predicted by eight simple predictions, each weighted by how well it did nearby, four of them relative to the channel before;
what is left goes through an adaptive binary arithmetic code, whose contexts are what was left nearby. Levels that no sample has are left
out beforehand: 12 bits spread over 16 cost 12 bits.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.kernels.jit import kernel
from ..coders.binary import EVEN, Bytes, begin, code, finish
from ..errors import DamagedFile

Samples = NDArray[np.uint16]
"""(height, width, channels)."""
HEAD = struct.Struct("<BB")
"""bits of a sample, channels"""
TABLE = struct.Struct("<I")
"""bytes of what tells the levels that a channel has"""
CHANNELS = 4  # at most
PREDICTIONS = 8
BUCKETS, LENGTHS, DIGITS = 44, 18, 20  # contexts: of how large residuals are, of their length, of their digits
LARGEST = 17  # digits of a residual
SIGNS = 27
WEIGHT = 40
MOST = 16384  # samples in a byte: no bit costs less than 1/2000


@kernel()
def _bucket(total: int) -> int:
    """Of a sum of magnitudes: twice its digits, and the second of them."""
    digits = 0
    rest = total
    while rest:
        digits += 1
        rest >>= 1
    return digits if digits < 2 else 2 * digits + (total >> (digits - 2) & 1)


@kernel()
def _sign(value: int) -> int:
    return 1 if value > 0 else 2 if value < 0 else 0


@kernel("int64(uint16[:,:,::1], uint8[::1], int64[::1], boolean)")
def _walk(samples: Samples, data: Bytes, largest: NDArray[np.int64], reading: bool) -> int:
    """Write samples, or read them; the bytes that it takes, or -1 for a sample above the largest of its channel."""
    height, width, channels = samples.shape
    state = np.zeros(4, np.int64)
    begin(state, data, reading)
    digits_at = CHANNELS * BUCKETS * LENGTHS
    signs_at = digits_at + CHANNELS * LENGTHS * DIGITS
    probabilities = np.zeros((signs_at + CHANNELS * SIGNS, 2), np.int64)
    probabilities[:, 0] = EVEN
    errors = np.zeros((2, channels, width + 2, PREDICTIONS), np.int64)  # of this row and the one before
    residuals = np.zeros((2, channels, width + 2), np.int64)
    guesses = np.zeros(PREDICTIONS, np.int64)
    order = np.arange(CHANNELS)
    if channels > 2:
        order[0], order[1] = 1, 0
    for y in range(height):
        here, above = y & 1, 1 - (y & 1)
        for x in range(width):
            before = 0
            for i in range(channels):
                channel = order[i]
                count = 0
                for part in range(2 if i else 1):
                    plane = order[i - 1] if part else channel
                    north: Any = 0
                    if y > 0:
                        north = np.int64(samples[y - 1, x, plane])
                    west: Any = np.int64(samples[y, x - 1, plane]) if x > 0 else north
                    if y == 0:
                        north = west
                    northwest: Any = north
                    northeast: Any = north
                    if y > 0 and x > 0:
                        northwest = np.int64(samples[y - 1, x - 1, plane])
                    if y > 0 and x + 1 < width:
                        northeast = np.int64(samples[y - 1, x + 1, plane])
                    now = np.int64(samples[y, x, plane]) if part else 0
                    for j in range(4):
                        guess = west if j == 0 else north if j == 1 else west + north - northwest if j == 2 else west + northeast - north
                        guesses[count] = guesses[j] + now - guess if part else guess
                        count += 1
                total, weighted = 0, 0
                for j in range(count):
                    error = errors[here, i, x, j] + errors[above, i, x, j] + errors[above, i, x + 1, j] + errors[above, i, x + 2, j]
                    weight = (1 << WEIGHT) // ((error + 2) * (error + 2)) + 1
                    total += weight
                    weighted += weight * guesses[j]
                middle = min(max((weighted + (total >> 1)) // total, 0), largest[channel])
                w, n = residuals[here, i, x], residuals[above, i, x + 1]
                nearby = 2 * abs(w) + 2 * abs(n) + abs(residuals[above, i, x]) + abs(residuals[above, i, x + 2]) + 2 * abs(before)
                context = (i * BUCKETS + _bucket(nearby)) * LENGTHS
                value = np.int64(samples[y, x, channel]) - middle
                size = abs(value)
                if code(state, data, probabilities, context, 1 if size == 0 else 0, reading):
                    value = 0
                else:
                    place = signs_at + i * SIGNS + _sign(w) + 3 * _sign(n) + 9 * _sign(before)
                    negative = code(state, data, probabilities, place, 1 if value < 0 else 0, reading)
                    digits = 1
                    while digits < LARGEST and code(state, data, probabilities, context + digits, 1 if size >> digits else 0, reading):
                        digits += 1
                    found = 1
                    for digit in range(digits - 2, -1, -1):
                        lead = digits - 2 - digit
                        place = (
                            digits_at + (i * LENGTHS + digits) * DIGITS + (0 if lead == 0 else 1 + (found & 1) if lead == 1 else 3 + digit)
                        )
                        found = 2 * found + code(state, data, probabilities, place, size >> digit & 1, reading)
                    value = -found if negative else found
                if reading:
                    if middle + value < 0 or middle + value > largest[channel]:
                        return -1
                    samples[y, x, channel] = middle + value
                for j in range(count):
                    errors[here, i, x + 1, j] = abs(middle + value - guesses[j])
                residuals[here, i, x + 1] = value
                before = value
    return finish(state, data, reading)


def encode(samples: Samples, bits: int) -> bytes:
    """The bytes of samples (height, width, 1 to 4) of 8 or 16 bits."""
    height, width, channels = samples.shape
    tables, levels, largest = [], np.ascontiguousarray(samples).copy(), np.full(channels, (1 << bits) - 1, np.int64)
    for channel in range(channels):
        there = np.unique(samples[..., channel])
        mask = np.zeros(1 << bits, np.uint8)
        mask[there] = 1
        table = zlib.compress(np.packbits(mask).tobytes(), 9)
        span = int(there[-1]) - int(there[0]) + 1
        if height * width * math.log2(span / len(there)) / 8 <= len(table):
            table = b""
        else:
            levels[..., channel] = np.searchsorted(there, samples[..., channel])
            largest[channel] = len(there) - 1
        tables.append(TABLE.pack(len(table)) + table)
    data = np.empty(5 * samples.size + 64, np.uint8)
    coded = data[: _walk(levels, data, largest, False)].tobytes()
    return b"".join([HEAD.pack(bits, channels), *tables, coded])


def decode(content: bytes, height: int, width: int) -> tuple[Samples, int]:
    """The inverse: samples, and bits of each. Raises DamagedFile."""
    wrong = DamagedFile("the section SAMP is not what this format allows")
    bits, channels = HEAD.unpack_from(content) if len(content) >= HEAD.size else (0, 0)
    if bits not in (8, 16) or not 1 <= channels <= CHANNELS:
        raise wrong
    place, there = HEAD.size, []
    for _ in range(channels):
        if len(content) < place + TABLE.size:
            raise wrong
        start = place + TABLE.size
        place = start + TABLE.unpack_from(content, place)[0]
        if place > len(content):
            raise wrong
        there.append(_levels(content[start:place], bits) if place > start else np.arange(1 << bits))
    largest = np.array([len(levels) - 1 for levels in there], np.int64)
    coded = np.array(np.frombuffer(content[place:], np.uint8))
    if height * width * channels > MOST * len(coded):
        raise wrong
    samples = np.zeros((height, width, channels), np.uint16)
    if _walk(samples, coded, largest, True) != len(coded):
        raise DamagedFile("the samples of a picture are damaged")
    for channel, (levels, before) in enumerate(zip(there, largest, strict=True)):
        if before < (1 << bits) - 1:
            samples[..., channel] = levels[samples[..., channel]]
    return samples, bits


def _levels(table: bytes, bits: int) -> NDArray[np.int64]:
    """The levels that a channel has, in order. Raises DamagedFile."""
    inflater = zlib.decompressobj()
    try:
        mask = inflater.decompress(table, (1 << bits) // 8 + 1)
    except zlib.error:
        mask = b""
    levels = np.flatnonzero(np.unpackbits(np.frombuffer(mask, np.uint8)))
    if len(mask) != (1 << bits) // 8 or inflater.unused_data or not inflater.eof or not len(levels):
        raise DamagedFile("the section SAMP is not what this format allows")
    return levels
