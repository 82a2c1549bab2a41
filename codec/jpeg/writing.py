"""Coefficients -> the data of a scan (ITU-T T.81, F.1 and G.1): the mirror of reading.py."""

from typing import Any

import numpy as np

from ...models.kernels.jit import Array, kernel
from .markers import ZIGZAG
from .reading import ABSENT

BITS, HAVE, PLACE, MISSED, RUN, RUNS = range(6)
"""The state: bits that are not written yet (the last HAVE), where writing goes on, whether there was no code for a symbol, blocks that are
left of a run of ends of band, and how many runs there were."""
LONGEST = 0x7FFF  # run
MOST = 937  # correction bits that libjpeg lets a run wait for
ROOM = 1024  # bytes that no block reaches


@kernel()
def _put(out: Array, state: Array, value: Any, size: Any) -> None:
    """Write so many bits, at most 32, with a zero behind each byte of ones."""
    bits, have, place = state[BITS] << size | value, state[HAVE] + size, state[PLACE]
    while have >= 8:
        have -= 8
        byte = bits >> have & 255
        out[place] = byte
        place += 1
        if byte == 255:
            out[place] = 0
            place += 1
    state[BITS], state[HAVE], state[PLACE] = bits, have, place


@kernel()
def _put_symbol(out: Array, state: Array, codes: Array, slot: int, symbol: Any) -> None:
    code = np.int64(codes[slot, symbol])
    if code == 0:
        state[MISSED] = 1
    _put(out, state, code >> 5, code & 31)


@kernel()
def _put_number(out: Array, state: Array, codes: Array, slot: int, above: Any, value: Any) -> None:
    """Write the symbol of a number, of which the high nibble is given, and its digits."""
    size, magnitude = 0, abs(value)
    while magnitude >> size:
        size += 1
    if size > 15:
        state[MISSED] = 1
        size = 15
    _put_symbol(out, state, codes, slot, above << 4 | size)
    _put(out, state, value & ((1 << size) - 1) if value > 0 else (value - 1) & ((1 << size) - 1), size)


@kernel()
def _put_corrections(out: Array, state: Array, block: Array, first: Any, last: Any, low: Any) -> None:
    """Write the next bit of each coefficient that has had others."""
    for k in range(first, last + 1):
        magnitude = abs(np.int64(block[ZIGZAG[k]])) >> low
        if magnitude > 1:
            _put(out, state, magnitude & 1, 1)


@kernel()
def _rest(block: Array, first: Any, last: Any, high: Any, low: Any) -> Any:
    """How many correction bits a block has if it has an end of band and nothing before it, else -1."""
    corrections = 0
    for k in range(first, last + 1):
        magnitude = abs(np.int64(block[ZIGZAG[k]])) >> low
        if magnitude == 1 or (magnitude and not high):
            return -1
        if magnitude:
            corrections += 1
    return corrections


@kernel(
    "int64(uint8[::1], int64[::1], int16[:,::1], int64[:,::1], int64[::1], int64[::1], int32[:,::1], int32[::1], boolean, uint8[::1],"
    "uint8[::1], int64)"
)
def write_scan(
    out: Array,
    state: Array,
    coefficients: Array,
    parts: Array,
    band: Array,
    units: Array,
    codes: Array,
    runs: Array,
    longest: bool,
    pads: Array,
    marks: Array,
    whole: int,
) -> int:
    """Write the first coded units of a scan. Returns how many bytes that makes, -1 if there is no room for them.

    coefficients, parts, band, units: as of `read_scan`. runs: lengths of runs of ends of band; longest: they are as long as they can be
    instead. pads, marks: one after another, and the last one, whose bits are used again and again, as `read_scan` gives them.
    """
    first, last, high, low = band[0], band[1], band[2], band[3]
    before = np.zeros(4, np.int64)
    restarts: Any = 0
    for unit in range(whole):
        if units[2] and unit and unit % units[2] == 0:
            spare = -state[HAVE] & 7
            _put(out, state, np.int64(pads[min(restarts, len(pads) - 1)]) & ((1 << spare) - 1), spare)
            mark = np.int64(marks[restarts]) if restarts < len(marks) else restarts & 7
            if mark != ABSENT:
                out[state[PLACE]], out[state[PLACE] + 1] = 255, 0xD0 + (mark & 7)
                state[PLACE] += 2
            state[RUN] = 0
            before[:] = 0
            restarts += 1
        row, column = unit // units[1], unit % units[1]
        for part in range(len(parts)):
            for i in range(parts[part, 2]):
                for j in range(parts[part, 3]):
                    at = parts[part, 0] + (row * parts[part, 2] + i) * parts[part, 1] + column * parts[part, 3] + j
                    block = coefficients[at]
                    if state[PLACE] + ROOM > len(out):
                        return -1
                    k = first
                    if k == 0:
                        k = 1
                        value = np.int64(block[0]) >> low
                        if high:
                            _put(out, state, value & 1, 1)
                        else:
                            _put_number(out, state, codes, parts[part, 4], 0, value - before[part])
                            before[part] = value
                    if state[RUN]:
                        if high:
                            _put_corrections(out, state, block, k, last, low)
                        state[RUN] -= 1
                        continue
                    end = k - 1  # the last coefficient that becomes other than 0 here
                    for n in range(last, k - 1, -1):
                        magnitude = abs(np.int64(block[ZIGZAG[n]])) >> low
                        if magnitude == 1 or (magnitude and not high):
                            end = n
                            break
                    zeros, open_from = 0, k
                    while k <= end:
                        value = np.int64(block[ZIGZAG[k]])
                        magnitude = abs(value) >> low
                        if magnitude == 0:
                            zeros += 1
                            k += 1
                            continue
                        while zeros > 15:
                            _put_symbol(out, state, codes, parts[part, 5], 0xF0)
                            zeros -= 16
                            if high:
                                _put_corrections(out, state, block, open_from, k - 1, low)
                                open_from = k
                        k += 1
                        if high and magnitude > 1:
                            continue
                        _put_number(out, state, codes, parts[part, 5], zeros, magnitude if value > 0 else -magnitude)
                        if high:
                            _put_corrections(out, state, block, open_from, k - 1, low)
                            open_from = k
                        zeros = 0
                    corrections = _rest(block, k, last, high, low)
                    if k > last:
                        continue
                    run: Any = 1
                    if not longest:
                        run = np.int64(runs[min(state[RUNS], len(runs) - 1)])
                        state[RUNS] += 1
                    elif band[4]:
                        other = unit + 1
                        stop = min(units[0] * units[1], (unit // units[2] + 1) * units[2]) if units[2] else units[0] * units[1]
                        while other < stop and run < LONGEST and corrections <= MOST:
                            at = parts[part, 0] + (other // units[1]) * parts[part, 1] + other % units[1]
                            more = _rest(coefficients[at], first, last, high, low)
                            if more < 0:
                                break
                            corrections += more
                            run += 1
                            other += 1
                    size = 0
                    while size < 14 and run >> (size + 1):
                        size += 1
                    _put_symbol(out, state, codes, parts[part, 5], size << 4)
                    _put(out, state, run & ((1 << size) - 1), size)
                    if high:
                        _put_corrections(out, state, block, open_from, last, low)
                    state[RUN] = run - 1
    spare = -state[HAVE] & 7
    _put(out, state, np.int64(pads[min(restarts, len(pads) - 1)]) & ((1 << spare) - 1), spare)
    return int(state[PLACE])
