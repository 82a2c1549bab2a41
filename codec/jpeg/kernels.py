"""Loops over blocks and pixels: coefficients to samples, chroma to the size of luma, and colours.

The inverse cosine transform is the slow and accurate one of libjpeg (jidctint.c, after Loeffler, Ligtenberg and Moschytz, 1989). All
that it does along a line is linear in integers, so it is a matrix of integers here: columns first, two fractional bits kept between.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.kernels.jit import Array, kernel

UNIT = 1 << 13
FIRST, LAST = 11, 18  # bits that the passes over columns and over rows take away
FINE, FAR = 1024, 1 << 24  # units in which the search computes samples, and further than any of them
FARTHEST = 4 * FINE  # what a sample is outside its bounds counts up to this
NEAR = FINE * FINE // 8  # sums of squares from which samples may be within their bounds, but for rounding
ROUNDS, TABU = 24, 3  # of transforms where samples have a choice; steps in which a changed coefficient is not changed back, at first
DOUBT = 4.2  # how far the transform of samples may be from the coefficient, in levels


def _line() -> NDArray[np.int32]:
    """What a line of eight frequencies gives at eight places: int32 (place, frequency).

    Even frequencies are a rotation by 3 pi / 16 of two, and sums; odd ones the products of the paper's figure 1 with shared sums.
    """
    c = {name: round(float(name) * UNIT) for name in (
        "0.298631336", "0.390180644", "0.541196100", "0.765366865", "0.899976223", "1.175875602",
        "1.501321110", "1.847759065", "1.961570560", "2.053119869", "2.562915447", "3.072711026",
    )}  # fmt: skip
    matrix = np.zeros((8, 8), np.int64)
    for frequency in range(8):
        f = [int(frequency == i) for i in range(8)]
        turn = (f[2] + f[6]) * c["0.541196100"]
        low, high = turn + f[2] * c["0.765366865"], turn - f[6] * c["1.847759065"]
        total, difference = (f[0] + f[4]) * UNIT, (f[0] - f[4]) * UNIT
        even = total + low, difference + high, difference - high, total - low
        shared = (f[7] + f[3] + f[5] + f[1]) * c["1.175875602"]
        z1, z2 = (f[7] + f[1]) * c["0.899976223"], (f[5] + f[3]) * c["2.562915447"]
        z3 = shared - (f[7] + f[3]) * c["1.961570560"]
        z4 = shared - (f[5] + f[1]) * c["0.390180644"]
        odd = (
            f[1] * c["1.501321110"] - z1 + z4,
            f[3] * c["3.072711026"] - z2 + z3,
            f[5] * c["2.053119869"] - z2 + z4,
            f[7] * c["0.298631336"] - z1 + z3,
        )
        for place in range(4):
            matrix[place, frequency] = even[place] + odd[place]
            matrix[7 - place, frequency] = even[place] - odd[place]
    return matrix.astype(np.int32)


LINE = _line()


@kernel()
def _samples(values: Array, line: Array, between: Array) -> None:
    """Make of a block's coefficients, times their steps, its samples, 0..255: int32 (64). between: room, int32 (64)."""
    for y in range(len(line)):
        for u in range(len(line)):
            total = np.int32(1 << (FIRST - 1))
            for v in range(8):
                total = np.int32(total + np.int32(line[y, v] * values[8 * v + u]))
            between[8 * y + u] = total >> FIRST
    for y in range(len(line)):
        for x in range(len(line)):
            total = np.int32(1 << (LAST - 1))
            for u in range(8):
                total = np.int32(total + np.int32(line[x, u] * between[8 * y + u]))
            values[8 * y + x] = min(max((total >> LAST) + 128, 0), 255)


@kernel("void(int16[:,:,::1], int32[::1], int32[:,::1], uint8[:,::1])")
def inverse(coefficients: Array, steps: Array, line: Array, plane: Array) -> None:
    """Samples, uint8 (8 rows, 8 columns), of blocks (rows, columns, 64) and their steps (64). Sums are of 32 bits and wrap around.

    line: LINE.
    """
    values, between = np.empty(64, np.int32), np.empty(64, np.int32)
    for row in range(coefficients.shape[0]):
        for column in range(coefficients.shape[1]):
            for k in range(len(values)):
                values[k] = np.int32(coefficients[row, column, k]) * steps[k]
            _samples(values, line, between)
            for y in range(len(line)):
                for x in range(len(line)):
                    plane[8 * row + y, 8 * column + x] = values[8 * y + x]


@kernel("void(uint8[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64, uint8[:,::1])")
def enlarge(cells: Array, rows: Array, columns: Array, bias: Array, shift: int, plane: Array) -> None:
    """A plane (H, W) of cells (h, w), interpolated along axes as `origins.sampling` describes them."""
    mixed = np.empty(cells.shape[1], np.int32)
    for y in range(plane.shape[0]):
        near, far, a, b = rows[y, 0], rows[y, 1], np.int32(rows[y, 2]), np.int32(rows[y, 3])
        for x in range(cells.shape[1]):
            mixed[x] = a * np.int32(cells[near, x]) + b * np.int32(cells[far, x])
        for x in range(plane.shape[1]):
            total = columns[x, 2] * mixed[columns[x, 0]] + columns[x, 3] * mixed[columns[x, 1]]
            plane[y, x] = (total + bias[rows[y, 4], columns[x, 4]]) >> shift


@kernel("void(uint8[:,::1], uint8[:,::1], uint8[:,::1], int64[:,::1], uint8[:,:,::1])")
def colour(luma: Array, first: Array, second: Array, offsets: Array, pixels: Array) -> None:
    """Pixels (H, W, 3) of planes (H, W). offsets: of the origin JPEG, see `origins.table`."""
    for y in range(luma.shape[0]):
        for x in range(luma.shape[1]):
            light, c1, c2 = np.int64(luma[y, x]) << 16, first[y, x], second[y, x]
            pixels[y, x, 0] = min(max((light + offsets[0, c2]) >> 16, 0), 255)
            pixels[y, x, 1] = min(max((light + offsets[1, c1] + offsets[2, c2]) >> 16, 0), 255)
            pixels[y, x, 2] = min(max((light + offsets[3, c1]) >> 16, 0), 255)


@kernel()
def _outside(x: Array, low: Array, high: Array, basis: Array, step: Any) -> Any:
    """How far samples (64), moved by `step` times a frequency's share, are outside their bounds: the sum of squares."""
    total = np.int32(0)
    for i in range(len(x)):
        value = np.int32(x[i] + step * basis[i])
        below, above = np.int32(low[i] - value), np.int32(value - high[i])
        away = min(max(max(below, above), np.int32(0)), np.int32(FARTHEST))
        total = np.int32(total + np.int32(away * away))
    return total


@kernel()
def _rounded(target: Array, low: Array, high: Array, steps: Array, basis: Array, turned: Array, exact: Array, c: Array, x: Array) -> Any:
    """Round the transform of samples to coefficients c (64), and leave in x what these make; how many changed.

    Where bounds leave a choice, `target` becomes what is nearest to x. turned: `basis`, transposed. exact: the transform in steps.
    """
    changed: Any = 0
    for k in range(len(exact)):
        exact[k], x[k] = 0.0, 0.0
    for i in range(64):
        here, level = turned[i], target[i]
        for k in range(len(exact)):
            exact[k] += here[k] * level
    for k in range(64):
        exact[k] /= steps[k]
        value = int(np.floor(exact[k] + 0.5))
        changed += value != c[k]
        c[k] = value
        if value != 0:
            here, level = basis[k], np.float64(value * steps[k])
            for i in range(len(x)):
                x[i] += here[i] * level
    for i in range(64):
        if low[i] + FINE < high[i]:
            target[i] = min(max(x[i], low[i] / FINE), high[i] / FINE)
    return changed


@kernel()
def _missed(c: Array, steps: Array, line: Array, low: Array, high: Array, values: Array, between: Array) -> Any:
    """How many samples of a block are outside their bounds."""
    for k in range(len(values)):
        values[k] = np.int32(c[k]) * steps[k]
    _samples(values, line, between)
    missed: Any = 0
    for i in range(len(values)):
        level = (values[i] - 128) * FINE
        missed += (level < low[i]) | (level > high[i])
    return missed


@kernel("void(int16[:,::1], int16[:,::1], uint8[:,::1], int32[::1], float64[:,::1], int32[:,::1], int64, int16[:,:,::1], int64[:,::1])")
def settle(
    lowest: Array, highest: Array, start: Array, steps: Array, basis: Array, line: Array, effort: int, found: Array, wrong: Array
) -> None:
    """Coefficients of blocks (rows, columns, 64) whose samples are within bounds, (8 rows, 8 columns) each, and how many are not.

    start: samples to begin with where the bounds leave a choice. basis: (64 frequencies, 64 places). effort: steps of the search at most.
    Rounding comes first: of the transform of the samples, of which those with a choice then follow what the coefficients say. Then a
    coefficient is changed by one at a time, always that which brings samples nearest to their bounds, and none back soon (tabu search).
    """
    values, between, c = np.empty(64, np.int32), np.empty(64, np.int32), np.empty(64, np.int64)
    target, x, exact, last = np.empty(64), np.empty(64), np.empty(64), np.empty(128, np.int64)
    low, high, place = np.empty(64, np.int32), np.empty(64, np.int32), np.empty(64, np.int32)
    whole, turned = np.empty((64, 64), np.int32), np.empty((64, 64))
    for k in range(64):
        for i in range(64):
            turned[i, k] = basis[k, i]
            whole[k, i] = int(np.floor(basis[k, i] * steps[k] * FINE + 0.5))
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            free: Any = 0
            for i in range(64):
                y, x0 = 8 * row + (i >> 3), 8 * column + (i & 7)
                a, b = np.int32(lowest[y, x0]), np.int32(highest[y, x0])
                low[i] = (a - 128) * FINE - FINE // 2 if a > 0 else -FAR
                high[i] = (b - 128) * FINE + FINE // 2 if b < 255 else FAR
                target[i] = min(max(np.int32(start[y, x0]), a), b) - 128.0
                free += low[i] + FINE < high[i]
                c[i], last[2 * i], last[2 * i + 1] = 0, -2 * TABU, -2 * TABU
            for _ in range(ROUNDS if free else 1):
                if not _rounded(target, low, high, steps, basis, turned, exact, c, x):
                    break
            for i in range(64):
                place[i] = int(np.floor(x[i] * FINE + 0.5))
            least, wrong[row, column] = 0, 65
            for turn in range(effort + 1):
                if least < NEAR:
                    missed = _missed(c, steps, line, low, high, values, between)
                    if missed < wrong[row, column]:
                        wrong[row, column] = missed
                        for k in range(64):
                            found[row, column, k] = c[k]
                if wrong[row, column] == 0:
                    break
                least, at, way = 1 << 60, -1, 0
                for move in range(128):
                    k, sign = move >> 1, 2 * (move & 1) - 1
                    if turn - last[move] < (TABU if 2 * turn < effort else 2 * TABU):
                        continue
                    if free == 0 and abs(exact[k] - c[k] - sign) * steps[k] > DOUBT:
                        continue
                    cost = _outside(place, low, high, whole[k], np.int32(sign))
                    if cost < least:
                        least, at, way = cost, k, sign
                if at < 0:
                    break
                last[2 * at + ((1 - way) >> 1)] = turn
                c[at] += way
                for i in range(64):
                    place[i] += way * whole[at, i]
