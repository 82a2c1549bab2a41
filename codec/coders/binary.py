"""Bits <-> bytes: an adaptive binary arithmetic code.

The code is that of lpaq: two 32-bit ends of an interval, bytes leave when the ends agree on them. Probabilities have 16 bits; the
n-th bit of a context moves its probability by RATES[n] / 2^16 of the way, so that few bits are enough to learn it.
"""

import numpy as np
from numpy.typing import NDArray

from ...models.kernels.jit import kernel

Bytes = NDArray[np.uint8]
Probabilities = NDArray[np.int64]
"""(contexts, 2): that a bit is 1, in 1/65536, and how many bits there were."""
State = NDArray[np.int64]
"""Low and high end of the interval, the coded number (for reading), and the place in the bytes."""
RATES = np.array([65536 * 2 // (2 * n + 3) for n in range(1, 40)], np.int64)
LEAST, EVEN = 24, 32768  # probabilities: the least, and what contexts begin with
TAIL = 4  # bytes after the last one that is done


@kernel()
def code(state: State, data: Bytes, probabilities: Probabilities, context: int, bit: int, reading: bool) -> int:
    """Write or read a bit. It is called by kernels of other files, whose compiled form has it inside: it is part of the format, and does
    not change."""
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
def begin(state: State, data: Bytes, reading: bool) -> None:
    """Before the first bit: the whole interval, and for reading the first bytes."""
    state[0], state[1], state[2], state[3] = 0, 0xFFFFFFFF, 0, 0
    if reading:
        for place in range(TAIL):
            state[2] = state[2] << 8 | (data[place] if place < len(data) else 0)
        state[3] = TAIL


@kernel()
def finish(state: State, data: Bytes, reading: bool) -> int:
    """After the last bit: the number of bytes that there are, or were written."""
    if not reading:
        for place in range(TAIL):
            if state[3] < len(data):
                data[state[3]] = state[0] >> (24 - 8 * place) & 255
            state[3] += 1
    return int(state[3])
