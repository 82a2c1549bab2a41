"""Contexts of `photo` along the wavefront: what the network is told of the pixels of a step, and what is remembered of them.

The formulas are those of `context.py`. Rings hold the last RING steps: (RING, tiles, rows + TOP, ...), the cell (step - d, row - k) being
[(step - d) % RING, tile, row - k + TOP]; outside a tile they hold OUTSIDE or 0. Pixels of a step come tile by tile, in a tile row by row
from `low` on.
"""

import numpy as np

from ..units import (
    CHANNELS,
    ERROR_BLOCK,
    FRACTION,
    GREY,
    HINT_LIMIT,
    INPUTS,
    NEIGHBOURS,
    OUTSIDE,
    PIXEL_BLOCK,
    PREDICTIONS,
    SIGNED_LIMIT,
    SLOPE,
)
from .jit import Array, kernel

RING = 16  # steps, more than any block looks back
TOP = PIXEL_BLOCK[1] - 1  # rows above row 0
PAST = PREDICTIONS * CHANNELS
ERRORS, RESIDUALS = CHANNELS * NEIGHBOURS, CHANNELS * NEIGHBOURS + PAST  # where they begin in the network's input


@kernel()
def _predict(planes: Array, tile: int, step: int, row: int, channel: int, out: Array) -> None:
    """The six predictions of a plane."""
    one, two, three = planes[(step - 1) % RING], planes[(step - 2) % RING], planes[(step - 3) % RING]
    w = np.int32(one[tile, row + TOP, channel])
    n = np.int32(two[tile, row + TOP - 1, channel])
    nw = np.int32(three[tile, row + TOP - 1, channel])
    ne = np.int32(one[tile, row + TOP - 1, channel])
    nne = np.int32(three[tile, row + TOP - 2, channel])
    if w == OUTSIDE:
        w = n
    if w == OUTSIDE:
        w = np.int32(0 if channel else 128)
    if n == OUTSIDE:
        n = w
    if nw == OUTSIDE:
        nw = n
    if ne == OUTSIDE:
        ne = n
    if nne == OUTSIDE:
        nne = ne
    out[0], out[1], out[2], out[3], out[4], out[5] = w, n, w + n - nw, w + ne - n, n + ne - nne, (2 * (w + n) + ne - nw) >> 2


@kernel("void(int64, int16[:,:,:,::1], uint8[:,:,:,::1], int8[:,:,:,::1], int16[:,:,:,::1])")
def advance(step: int, planes: Array, errors: Array, residuals: Array, hidden: Array) -> None:
    """Make room for a step in the rings."""
    planes[step % RING], errors[step % RING], residuals[step % RING], hidden[step % RING] = OUTSIDE, 0, 0, 0


@kernel(
    "void(int64, int64, int64, int16[:,:,:,::1], uint8[:,:,:,::1], int8[:,:,:,::1], int16[:,:,:,::1], int8[::1], int8[::1], int64[::1], "
    "int16[:,::1], int16[:,::1], int16[:,::1])"
)
def look(
    step: int,
    low: int,
    rows: int,
    planes: Array,
    errors: Array,
    residuals: Array,
    hidden: Array,
    signed: Array,
    error: Array,
    trust: Array,
    inputs: Array,
    predictions: Array,
    combined: Array,
) -> None:
    """Of the pixels of a step: the network's input with the hidden vectors around them (n, INPUTS + 6 hidden), six predictions
    of the planes (n, 18), and these combined, in 1/8 (n, 3)."""
    size = hidden.shape[3]
    six, middle, sums = np.empty(PREDICTIONS, np.int32), np.empty(CHANNELS, np.int32), np.empty(PAST, np.int32)
    count = errors.shape[3]
    for tile in range(planes.shape[1]):
        for row in range(low, low + rows):
            i = tile * rows + row - low
            sums[:] = 0
            at = 0
            for d in range(ERROR_BLOCK[0], 0, -1):
                for k in range(ERROR_BLOCK[1] - 1, -1, -1):
                    ring, place = (step - d) % RING, row - k + TOP
                    for j in range(count):
                        sums[j] = np.int32(sums[j] + errors[ring, tile, place, j])
                    for c in range(CHANNELS):
                        inputs[i, RESIDUALS + at * CHANNELS + c] = residuals[ring, tile, place, c]
                    vector = inputs[i, INPUTS + at * size : INPUTS + (at + 1) * size]
                    for j in range(size):
                        vector[j] = hidden[ring, tile, place, j]
                    at += 1
            for j in range(PAST):
                inputs[i, ERRORS + j] = error[sums[j]]
            for c in range(CHANNELS):
                _predict(planes, tile, step, row, c, six)
                total, weight = np.int64(0), np.int64(0)
                for p in range(PREDICTIONS):
                    predictions[i, p * CHANNELS + c] = six[p]
                    u = trust[sums[p * CHANNELS + c]]
                    total += u * six[p]
                    weight += u
                combined[i, c] = total * FRACTION // weight
                middle[c] = (combined[i, c] + FRACTION // 2) >> 3
            at = 0
            for d in range(PIXEL_BLOCK[0], 0, -1):
                for k in range(PIXEL_BLOCK[1] - 1, -1, -1):
                    ring, place = (step - d) % RING, row - k + TOP
                    for c in range(CHANNELS):
                        away = np.int32(planes[ring, tile, place, c] - middle[c] + SIGNED_LIMIT)
                        inputs[i, at] = signed[np.uint32(min(max(away, np.int32(0)), np.int32(2 * SIGNED_LIMIT)))]
                        at += 1


@kernel("void(int64, int64, int64, uint8[:,:,:,::1], int64, int64, int32[::1])")
def known(step: int, low: int, rows: int, symbols: Array, channel: int, half: int, out: Array) -> None:
    """The nibbles of a step's symbols (tiles, height, width, channels), high (half 0) or low; out (n)."""
    for tile in range(len(symbols)):
        for row in range(low, low + rows):
            symbol = symbols[tile, row, step - SLOPE * row, channel]
            out[tile * rows + row - low] = symbol & 15 if half else symbol >> 4


@kernel("void(int64, int64, int64, int32[::1], int32[::1], int64, uint8[::1], uint8[:,:,:,::1])")
def join(step: int, low: int, rows: int, high: Array, below: Array, channel: int, symbols: Array, out: Array) -> None:
    """A step's symbols (n) of their nibbles, high and low (n), and in their places (tiles, height, width, channels)."""
    for tile in range(len(out)):
        for row in range(low, low + rows):
            i = tile * rows + row - low
            symbols[i] = high[i] * 16 + below[i]
            out[tile, row, step - SLOPE * row, channel] = symbols[i]


@kernel("void(int32[:,::1], int64, int64, int16[:,::1], int32[:,:,::1], int32[::1], int16[:,::1])")
def tell(heads: Array, first: int, channel: int, away: Array, hints: Array, shift: Array, features: Array) -> None:
    """What a channel's head makes of the sums (n, heads) and of the residuals of earlier channels (n, 3); features (n, head).

    first: the head's first sum; its sums are told the hints. hints: what residuals of earlier channels add
    (channel, 2 HINT_LIMIT + 1, head).
    """
    size = features.shape[1]
    shifts = shift[first : first + size]
    for i in range(len(features)):
        own = heads[i, first : first + size]
        for earlier in range(channel):
            hint = hints[earlier, min(max(away[i, earlier], -HINT_LIMIT), HINT_LIMIT) + HINT_LIMIT]
            for j in range(size):
                own[j] = np.int32(own[j] + hint[j])
        for j in range(size):
            features[i, j] = min(max(own[j] >> shifts[j], np.int32(0)), np.int32(127))


@kernel("void(int16[:,::1], int64, int16[::1], int32[::1])")
def centre(combined: Array, channel: int, green: Array, out: Array) -> None:
    """Where a channel's distributions are centred, in 1/GREY grey levels (n)."""
    for i in range(len(out)):
        place = combined[i, channel] + (FRACTION * green[i] if channel else 0)
        out[i] = min(max(place, 0), 255 * FRACTION) * (GREY // FRACTION)


@kernel("void(int64, int16[:,::1], uint8[::1], int16[::1], int16[:,::1], int16[:,::1])")
def put(channel: int, combined: Array, symbols: Array, green: Array, values: Array, away: Array) -> None:
    """The planes and residuals (n, 3) of a channel's symbols (n); `green` (n) becomes those of channel 0."""
    for i in range(len(symbols)):
        value = np.int16(symbols[i]) - (green[i] if channel else np.int16(0))
        values[i, channel] = value
        away[i, channel] = value - ((combined[i, channel] + FRACTION // 2) >> 3)
        if channel == 0:
            green[i] = value


@kernel("void(int16[:,::1], int16[:,::1], int8[::1], int16[:,::1])")
def cell_input(inputs: Array, away: Array, signed: Array, out: Array) -> None:
    """What the hidden vectors of pixels are made of: (n, INPUTS + 3), in whole fours."""
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] = inputs[i, j]
        for c in range(CHANNELS):
            out[i, INPUTS + c] = signed[min(max(away[i, c] + SIGNED_LIMIT, 0), 2 * SIGNED_LIMIT)]
        for j in range(INPUTS + CHANNELS, out.shape[1]):
            out[i, j] = 0


@kernel(
    "void(int64, int64, int64, int64[:,::1], int16[:,::1], int16[:,::1], int16[:,::1], int16[:,::1], "
    "int16[:,:,:,::1], uint8[:,:,:,::1], int8[:,:,:,::1], int16[:,:,:,::1])"
)
def remember(
    step: int,
    low: int,
    rows: int,
    bounds: Array,
    values: Array,
    predictions: Array,
    cells: Array,
    vectors: Array,
    planes: Array,
    errors: Array,
    residuals: Array,
    hidden: Array,
) -> None:
    """Write a step into the rings: its planes, the errors of their predictions, their companded residuals and hidden vectors.

    bounds: of every tile the first and past-the-last of its places in the step; what is there stays outside elsewhere.
    """
    ring, size = step % RING, hidden.shape[3]
    for tile in range(planes.shape[1]):
        for i in range(bounds[tile, 0], bounds[tile, 1]):
            place = i - tile * rows + low + TOP
            for c in range(CHANNELS):
                planes[ring, tile, place, c] = values[i, c]
                residuals[ring, tile, place, c] = cells[i, INPUTS + c]
                for p in range(PREDICTIONS):
                    wrong = abs(np.int32(values[i, c]) - np.int32(predictions[i, p * CHANNELS + c]))
                    errors[ring, tile, place, p * CHANNELS + c] = min(wrong, 255)
            for j in range(size):
                hidden[ring, tile, place, j] = vectors[i, j]
