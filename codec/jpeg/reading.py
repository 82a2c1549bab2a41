"""The data of a scan -> coefficients (ITU-T T.81, F.2 and G.2). Every loop is bounded by the block, the scan or the data."""

from typing import Any

import numpy as np

from ...models.kernels.jit import Array, kernel
from .huffman import LOOK
from .markers import ZIGZAG

BITS, HAVE, PLACE, MISSING, RUN, RUNS = range(6)
"""The state: bits that were read (the last HAVE of them count), where reading goes on, how many bits were made up behind the end of the
data, blocks that are left of a run of ends of band, and how many such runs there were."""
ABSENT = 8  # a restart without a marker
ONES, NOTHING = 255, 254  # what fills up a byte: ones, or there was nothing to fill


@kernel()
def _fill(data: Array, state: Array) -> None:
    """Have at least 48 bits, zeros behind a marker or the end."""
    bits, have, place = state[BITS], state[HAVE], state[PLACE]
    while have <= 48:
        byte: Any = 0
        if place < len(data) and (data[place] != 255 or (place + 1 < len(data) and data[place + 1] == 0)):
            byte = np.int64(data[place])
            place += 2 if byte == 255 else 1
        else:
            state[MISSING] += 8
        bits = bits << 8 | byte
        have += 8
    state[BITS], state[HAVE], state[PLACE] = bits, have, place


@kernel()
def _symbol(data: Array, state: Array, look: Array, limits: Array, bases: Array, values: Array, slot: int) -> Any:
    """The next symbol, -1 for bits that are no code. At least 16 bits are left behind it."""
    if state[HAVE] < 32:
        _fill(data, state)
    code = state[BITS] >> (state[HAVE] - 16) & 0xFFFF
    found: Any = np.int64(look[slot, code >> (16 - LOOK)])
    if found:
        state[HAVE] -= found >> 8
        return found & 255
    for length in range(LOOK + 1, 17):
        if code < limits[slot, length]:
            state[HAVE] -= length
            return np.int64(values[slot, (bases[slot, length] + (code >> (16 - length))) & 255])
    return np.int64(-1)


@kernel()
def _number(state: Array, size: int) -> Any:
    """A number of so many bits, at most 15: those that begin with a 0 are negative."""
    state[HAVE] -= size
    value = state[BITS] >> state[HAVE] & ((1 << size) - 1)
    return value if size == 0 or value >> (size - 1) else value - (1 << size) + 1


@kernel()
def _bit(data: Array, state: Array) -> Any:
    if state[HAVE] == 0:
        _fill(data, state)
    state[HAVE] -= 1
    return state[BITS] >> state[HAVE] & 1


@kernel()
def _refine(data: Array, state: Array, block: Array, first: int, last: int, low: int, skip: int) -> Any:
    """Correct the coefficients that are not 0, up to the zero behind `skip` others, whose place is returned; past the last without one."""
    k = first
    while k <= last:
        value = np.int64(block[ZIGZAG[k]])
        if value != 0:
            if _bit(data, state) and (abs(value) >> low) & 1 == 0:
                block[ZIGZAG[k]] = value + (1 << low if value > 0 else -(1 << low))
        else:
            if skip == 0:
                break
            skip -= 1
        k += 1
    return k


@kernel()
def _pad(state: Array, spare: int) -> Any:
    """Read the bits that fill up a byte."""
    state[HAVE] -= spare
    pad = state[BITS] >> state[HAVE] & ((1 << spare) - 1)
    return NOTHING if spare == 0 else ONES if pad == (1 << spare) - 1 else pad


@kernel(
    "int64(uint8[::1], int64[::1], int16[:,::1], int64[:,::1], int64[::1], int64[::1], int32[:,::1], int64[:,::1], int64[:,::1],"
    "uint8[:,::1], int32[::1], uint8[::1], uint8[::1])"
)
def read_scan(
    data: Array,
    state: Array,
    coefficients: Array,
    parts: Array,
    band: Array,
    units: Array,
    look: Array,
    limits: Array,
    bases: Array,
    values: Array,
    runs: Array,
    pads: Array,
    marks: Array,
) -> int:
    """Read a scan from state[PLACE] on; state[PLACE] is then behind it. Returns how many coded units are whole.

    coefficients: of all components. band: Ss, Se, Ah, Al, and 1 if runs of ends of band are allowed. units: rows and columns of coded
    units, and how many there are between restarts. runs: gets the lengths of runs. pads: gets the bits that fill up the last byte before
    each restart and the end, or ONES or NOTHING. marks: gets the numbers of the restarts, or ABSENT.
    """
    first, last, high, low = band[0], band[1], band[2], band[3]
    before = np.zeros(4, np.int64)
    restarts: Any = 0
    for unit in range(units[0] * units[1]):
        if units[2] and unit and unit % units[2] == 0:
            _fill(data, state)
            spare = (state[HAVE] - state[MISSING]) & 7
            pads[restarts] = _pad(state, spare)
            state[RUN] = 0
            before[:] = 0
            place = state[PLACE]
            if state[MISSING] and state[HAVE] == state[MISSING]:
                if place + 1 >= len(data) or data[place + 1] < 0xD0 or data[place + 1] > 0xD7:
                    return unit
                marks[restarts] = data[place + 1] - 0xD0
                state[PLACE] = place + 2
                state[HAVE] = state[MISSING] = 0
            else:
                marks[restarts] = ABSENT
            restarts += 1
        row, column = unit // units[1], unit % units[1]
        for part in range(len(parts)):
            for i in range(parts[part, 2]):
                for j in range(parts[part, 3]):
                    at = parts[part, 0] + (row * parts[part, 2] + i) * parts[part, 1] + column * parts[part, 3] + j
                    block = coefficients[at]
                    k = first
                    if k == 0:
                        k = 1
                        if high:
                            block[0] |= _bit(data, state) << low
                        else:
                            size = _symbol(data, state, look, limits, bases, values, parts[part, 4])
                            if size < 0 or size > 15:
                                return unit
                            before[part] += _number(state, size)
                            value = before[part] << low
                            if value < -32768 or value > 32767:
                                return unit
                            block[0] = value
                    if k <= last and state[RUN] == 0:
                        while k <= last:
                            symbol = _symbol(data, state, look, limits, bases, values, parts[part, 5])
                            if symbol < 0:
                                return unit
                            skip, size = symbol >> 4, symbol & 15
                            if size == 0 and skip < 15:
                                if skip and not band[4]:
                                    return unit
                                state[HAVE] -= skip
                                state[RUN] = (1 << skip) + (state[BITS] >> state[HAVE] & ((1 << skip) - 1))
                                if band[4]:
                                    runs[state[RUNS]] = state[RUN]
                                    state[RUNS] += 1
                                break
                            value = _number(state, size) << low
                            if high:
                                if size > 1:
                                    return unit
                                k = _refine(data, state, block, k, last, low, skip)
                            else:
                                k += skip
                            if k > last and (size or not high):
                                return unit
                            if size:
                                if value < -32768 or value > 32767:
                                    return unit
                                block[ZIGZAG[k]] = value
                            k += 1
                    if state[RUN]:
                        if high:
                            _refine(data, state, block, k, last, low, 64)
                        state[RUN] -= 1
        if state[HAVE] < state[MISSING]:
            return unit
    spare = (state[HAVE] - state[MISSING]) & 7
    pads[restarts] = _pad(state, spare)
    for _ in range((state[HAVE] - state[MISSING]) >> 3):  # give back whole bytes
        state[PLACE] -= 1
        if data[state[PLACE]] == 0 and state[PLACE] and data[state[PLACE] - 1] == 255:
            state[PLACE] -= 1
    return int(units[0] * units[1])
