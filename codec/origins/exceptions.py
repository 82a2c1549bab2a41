"""Pixels that planes do not reproduce, in an adaptive binary arithmetic code: where they are, and how far their R, G and B are away."""

from typing import Any

import numpy as np

from ...models.kernels.jit import kernel
from ..coders.binary import EVEN, Bytes, Probabilities, State, begin, code, finish
from ..errors import DamagedFile

PLACES = 32  # contexts of whether a pixel is one: its four neighbours before it, and whether a channel is at its end here
SIZES = 16  # contexts of a digit of a residual
CONTEXTS = PLACES + 2 + 3 * 3 * 2 * SIZES
RARE = 64  # probability of an exception that has no other beside it
LARGEST = 9  # digits of a residual


@kernel()
def _residual(state: State, data: Bytes, probabilities: Probabilities, start: int, value: Any, reading: bool) -> Any:
    """Write or read a number: whether it is 0, its sign, how many digits it has, and these."""
    size = abs(value)
    if code(state, data, probabilities, start, 1 if size == 0 else 0, reading):
        return 0
    negative = code(state, data, probabilities, start + 1, 1 if value < 0 else 0, reading)
    digits = 1
    while digits < LARGEST and code(state, data, probabilities, start + 1 + digits, 1 if size >> digits else 0, reading):
        digits += 1
    found = 1
    for digit in range(digits - 2, -1, -1):
        found = 2 * found + code(state, data, probabilities, start + SIZES - 1 - min(digit, 4), size >> digit & 1, reading)
    return -found if negative else found


@kernel("int64(uint8[:,:,::1], uint8[:,:,::1], uint8[::1], boolean, int64[::1], int64[:,::1], int64[:,::1])")
def _walk(pixels: Bytes, shown: Bytes, data: Bytes, reading: bool, state: State, probabilities: Probabilities, other: Any) -> int:
    """Write how pixels (H, W, 3) differ from what is shown, or read it and make them of it. The bytes that it takes; -1 for a pixel
    outside 0..255.

    other: room for which pixels of this row and the one before are exceptions, zeros (2, W + 2).
    """
    height, width = pixels.shape[:2]
    begin(state, data, reading)
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
            differs = code(state, data, probabilities, context, differs, reading)
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
                last = code(state, data, probabilities, PLACES + last, same, reading)
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
    return finish(state, data, reading)


def _begun(width: int) -> tuple[State, Probabilities, Any]:
    """What a walk through rows of that width begins with."""
    probabilities = np.zeros((CONTEXTS, 2), np.int64)
    probabilities[:, 0] = EVEN
    probabilities[0], probabilities[16] = (RARE, 8), (16 * RARE, 4)
    return np.zeros(4, np.int64), probabilities, np.zeros((2, width + 2), np.int64)


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
