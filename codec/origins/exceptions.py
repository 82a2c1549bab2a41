"""Pixels that planes do not reproduce, in an adaptive binary arithmetic code: where they are, and how far their R, G and B are away.

The code is that of lpaq: two 32-bit ends of an interval, bytes leave when the ends agree on them. Probabilities have 16 bits; the
n-th bit of a context moves its probability by RATES[n] / 2^16 of the way, so that few bits are enough to learn it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.kernels.jit import kernel
from ..errors import DamagedFile

Bytes = NDArray[np.uint8]
PLACES = 32  # contexts of whether a pixel is one: its four neighbours before it, and whether a channel is at its end here
SIZES = 16  # contexts of a digit of a residual
CONTEXTS = PLACES + 2 + 3 * 3 * 2 * SIZES
RATES = np.array([65536 * 2 // (2 * n + 3) for n in range(1, 40)], np.int64)
LEAST, RARE = 24, 64  # probabilities: the least, and of an exception that has no other beside it
LARGEST = 9  # digits of a residual

Probabilities = NDArray[np.int64]
"""(contexts, 2): that a bit is 1, in 1/65536, and how many bits there were."""
State = NDArray[np.int64]
"""Low and high end of the interval, the coded number (for reading), and the place in the bytes."""


@kernel()
def _code(state: State, data: Bytes, probabilities: Probabilities, context: int, bit: int, reading: bool) -> int:
    """Write or read a bit."""
    low, high = state[0], state[1]
    probability, count = probabilities[context]
    middle = low + ((high - low) * probability >> 16)
    if reading:
        bit = 1 if state[2] <= middle else 0
    if bit:
        state[1] = middle
    else:
        state[0] = middle + 1
    moved = probability + (((65535 if bit else 0) - probability) * RATES[count] >> 16)
    probabilities[context, 0] = min(max(moved, LEAST), 65536 - LEAST)
    probabilities[context, 1] = min(count + 1, len(RATES) - 1)
    while (state[0] ^ state[1]) & 0xFF000000 == 0:
        if reading:
            state[2] = (state[2] << 8 & 0xFFFFFFFF) | (data[state[3]] if state[3] < len(data) else 0)
        elif state[3] < len(data):
            data[state[3]] = state[1] >> 24
        state[3] += 1
        state[0] = state[0] << 8 & 0xFFFFFFFF
        state[1] = (state[1] << 8 & 0xFFFFFFFF) | 255
    return bit


@kernel()
def _residual(state: State, data: Bytes, probabilities: Probabilities, start: int, value: Any, reading: bool) -> Any:
    """Write or read a number: whether it is 0, its sign, how many digits it has, and these."""
    size = abs(value)
    if _code(state, data, probabilities, start, 1 if size == 0 else 0, reading):
        return 0
    negative = _code(state, data, probabilities, start + 1, 1 if value < 0 else 0, reading)
    digits = 1
    while digits < LARGEST and _code(state, data, probabilities, start + 1 + digits, 1 if size >> digits else 0, reading):
        digits += 1
    found = 1
    for digit in range(digits - 2, -1, -1):
        found = 2 * found + _code(state, data, probabilities, start + SIZES - 1 - min(digit, 4), size >> digit & 1, reading)
    return -found if negative else found


@kernel("int64(uint8[:,:,::1], uint8[:,:,::1], uint8[::1], boolean, int64[::1], int64[:,::1], int64[:,::1])")
def _walk(pixels: Bytes, shown: Bytes, data: Bytes, reading: bool, state: State, probabilities: Probabilities, other: Any) -> int:
    """Write how pixels (H, W, 3) differ from what is shown, or read it and make them of it. The bytes that it takes; -1 for a pixel
    outside 0..255.

    other: room for which pixels of this row and the one before are exceptions, zeros (2, W + 2).
    """
    height, width = pixels.shape[:2]
    if reading:
        for place in range(4):
            state[2] = state[2] << 8 | (data[place] if place < len(data) else 0)
        state[3] = 4
    last: Any = np.int64(0)
    for y in range(height):
        here, above = other[y & 1], other[1 - (y & 1)]
        here[0] = 0
        for x in range(width):
            end = 0
            for channel in range(3):
                if shown[y, x, channel] == 0 or shown[y, x, channel] == 255:
                    end = 16
            context = here[x] + 2 * above[x + 1] + 4 * above[x] + 8 * above[x + 2] + end
            differs: Any = np.int64(0)
            if not reading:
                for channel in range(3):
                    if pixels[y, x, channel] != shown[y, x, channel]:
                        differs = 1
            differs = _code(state, data, probabilities, context, differs, reading)
            here[x + 1] = differs
            if not differs:
                if reading:
                    for channel in range(3):
                        pixels[y, x, channel] = shown[y, x, channel]
                continue
            same: Any = np.int64(0)
            if here[x] and not reading:
                same = 1
                for channel in range(3):
                    if pixels[y, x, channel] != pixels[y, x - 1, channel]:
                        same = 0
            if here[x]:  # a run of exceptions may be a frame of one colour
                last = _code(state, data, probabilities, PLACES + last, same, reading)
                if last:
                    if reading:
                        for channel in range(3):
                            pixels[y, x, channel] = pixels[y, x - 1, channel]
                    continue
            before: Any = 0
            for channel in range(3):
                start = PLACES + 2 + ((channel * 3 + before) * 2 + end // 16) * SIZES
                value: Any = np.int64(pixels[y, x, channel]) - np.int64(shown[y, x, channel])
                value = _residual(state, data, probabilities, start, value, reading)
                before = min(abs(value), 2)
                if reading:
                    value += np.int64(shown[y, x, channel])
                    if value < 0 or value > 255:
                        return -1
                    pixels[y, x, channel] = value
    if not reading:
        for place in range(4):
            if state[3] < len(data):
                data[state[3]] = state[0] >> (24 - 8 * place) & 255
            state[3] += 1
    return int(state[3])


def _begun(width: int) -> tuple[State, Probabilities, Any]:
    """What a walk through rows of that width begins with."""
    probabilities = np.zeros((CONTEXTS, 2), np.int64)
    probabilities[:, 0] = 32768
    probabilities[0], probabilities[16] = (RARE, 8), (16 * RARE, 4)
    return np.array([0, 0xFFFFFFFF, 0, 0], np.int64), probabilities, np.zeros((2, width + 2), np.int64)


def encode(pixels: Bytes, shown: Bytes) -> bytes:
    """What turns the pixels that are shown into those that there are, uint8 (H, W, 3) each; empty if they are the same."""
    if np.array_equal(pixels, shown):
        return b""
    data = np.empty(8 * pixels.size + 64, np.uint8)
    return data[: _walk(np.array(pixels), np.ascontiguousarray(shown), data, False, *_begun(pixels.shape[1]))].tobytes()


def decode(data: bytes, shown: Bytes) -> Bytes:
    """The inverse. Raises DamagedFile."""
    if not data:
        return shown
    pixels = np.empty_like(shown)
    if _walk(pixels, shown, np.array(np.frombuffer(data, np.uint8)), True, *_begun(pixels.shape[1])) != len(data):
        raise DamagedFile("the exceptions of an origin are damaged")
    return pixels
