"""Loops over the pixels of a picture whose origin is known. Integers alone, but for first estimates.

A picture is `reproduced` at a pixel if some Y gives its R, G and B from the chroma there. The inverse looks for chroma cells with which
as many pixels as possible are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.kernels.jit import Array, kernel

Misses = NDArray[np.int16]
SLACK = 0.2  # how near to the middle of an interval is near enough
NEAR = 2  # how many cells away a changed one may matter
FAILED, FARTHEST = 8, 40  # what a pixel that is not reproduced counts at least, and how much more at most


def around(radius: int) -> NDArray[np.int64]:
    """(dy, dx) of a square, from its middle outwards."""
    steps = [(i, j) for i in range(-radius, radius + 1) for j in range(-radius, radius + 1)]
    return np.array(sorted(steps, key=lambda s: (s[0] * s[0] + s[1] * s[1], s)), np.int64)


_NEAREST = around(2)


@kernel()
def _over(value: Any, luma: int) -> Any:
    """floor(value / luma), without a division at every pixel: the half keeps the product away from whole numbers."""
    return int(np.floor((value + 0.5) * (1.0 / luma)))


@kernel()
def levels(value: Any, offset: int, luma: int, shift: int) -> tuple[int, int]:
    """The least and the largest Y (maybe outside 0..255) that give a channel its value; the second is the smaller one if none does."""
    low, high = 0, 255
    if value > 0:
        low = -_over(offset - (value << shift), luma)
    if value < 255:
        high = _over(((value + 1) << shift) - 1 - offset, luma)
    return low, high


@kernel()
def reproduces(pixel: Array, c1: Any, c2: Any, offsets: Array, luma: int, shift: int) -> tuple[int, int]:
    """The least and the largest Y in 0..255 that give a pixel (3) from its chroma; the second is the smaller one if none does."""
    low, high = levels(np.int64(pixel[0]), offsets[0, c2], luma, shift)
    low1, high1 = levels(np.int64(pixel[1]), offsets[1, c1] + offsets[2, c2], luma, shift)
    low2, high2 = levels(np.int64(pixel[2]), offsets[3, c1], luma, shift)
    return max(low, low1, low2, 0), min(high, high1, high2, 255)


@kernel("void(uint8[:,:,::1], float64[:,::1], int64[:,::1], int64, int64, int16[:,::1], int16[:,::1], uint8[:,::1])")
def estimate(pixels: Array, inverse: Array, offsets: Array, luma: int, shift: int, first: Array, second: Array, known: Array) -> None:
    """Chroma at every pixel of (H, W, 3), as if it were not interpolated: two planes (H, W), and what is known of them (H, W):

    2 if the pixel is reproduced and no channel is at its end, so that nothing else would do; 1 if it is reproduced, 0 if not.
    inverse: (2, 4), from R, G, B and 1 to C1 and C2.
    """
    height, width = pixels.shape[:2]
    for y in range(height):
        for x in range(width):
            r, g, b = np.int64(pixels[y, x, 0]), np.int64(pixels[y, x, 1]), np.int64(pixels[y, x, 2])
            c1 = int(np.floor(inverse[0, 0] * r + inverse[0, 1] * g + inverse[0, 2] * b + inverse[0, 3] + 0.5))
            c2 = int(np.floor(inverse[1, 0] * r + inverse[1, 1] * g + inverse[1, 2] * b + inverse[1, 3] + 0.5))
            first[y, x], second[y, x], known[y, x] = min(max(c1, 0), 255), min(max(c2, 0), 255), 0
            for step in range(25):
                u, v = c1 + _NEAREST[step, 0], c2 + _NEAREST[step, 1]
                if 0 <= u <= 255 and 0 <= v <= 255:
                    low, high = reproduces(pixels[y, x], u, v, offsets, luma, shift)
                    if low <= high:
                        first[y, x], second[y, x] = u, v
                        inside = min(r, g, b) > 0 and max(r, g, b) < 255
                        known[y, x] = 2 if inside else 1
                        break


@kernel()
def between(cells: Array, rows: Array, y: int, columns: Array, x: int, bias: Array, shift: int) -> Any:
    """Chroma at one place."""
    near, far, left, right = rows[y, 0], rows[y, 1], columns[x, 0], columns[x, 1]
    upper = columns[x, 2] * cells[near, left] + columns[x, 3] * cells[near, right]
    lower = columns[x, 2] * cells[far, left] + columns[x, 3] * cells[far, right]
    return (rows[y, 2] * upper + rows[y, 3] * lower + bias[rows[y, 4], columns[x, 4]]) >> shift


@kernel()
def _fill(total: Array, weight: Array, values: Array) -> None:
    """Means where there are weights, and from there on, ever wider, what lies around."""
    h, w = values.shape
    for i in range(h):
        for j in range(w):
            if weight[i, j] > 0:
                values[i, j] = total[i, j] / weight[i, j]
    distance = np.full((h, w), 1 << 20)
    for i in range(h):
        for j in range(w):
            if weight[i, j] > 0:
                distance[i, j] = 0
            if i > 0 and distance[i - 1, j] + 1 < distance[i, j]:
                distance[i, j], values[i, j] = distance[i - 1, j] + 1, values[i - 1, j]
            if j > 0 and distance[i, j - 1] + 1 < distance[i, j]:
                distance[i, j], values[i, j] = distance[i, j - 1] + 1, values[i, j - 1]
    for i in range(h - 1, -1, -1):
        for j in range(w - 1, -1, -1):
            if i < h - 1 and distance[i + 1, j] + 1 < distance[i, j]:
                distance[i, j], values[i, j] = distance[i + 1, j] + 1, values[i + 1, j]
            if j < w - 1 and distance[i, j + 1] + 1 < distance[i, j]:
                distance[i, j], values[i, j] = distance[i, j + 1] + 1, values[i, j + 1]
    for i in range(h):
        for j in range(w):
            if distance[i, j] == 1 << 20:
                values[i, j] = 128


@kernel()
def _share(total: Array, weight: Array, value: Any, near: int, far: int, m: int, n: int, left: int, right: int, a: int, b: int) -> None:
    """Add what a pixel says to the four cells that it is interpolated from, in rows `near` and `far` and columns `left` and `right`."""
    total[near, left] += m * a * value
    weight[near, left] += m * a
    total[near, right] += m * b * value
    weight[near, right] += m * b
    total[far, left] += n * a * value
    weight[far, left] += n * a
    total[far, right] += n * b * value
    weight[far, right] += n * b


@kernel("void(int16[:,::1], uint8[:,::1], int16[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64, int64)")
def fit_cells(plane: Array, known: Array, cells: Array, rows: Array, columns: Array, bias: Array, up: int, rounds: int) -> None:
    """Bring cells (h, w) near to those whose interpolation is a plane (H, W) where it is known for certain; smooth elsewhere.

    What is interpolated must lie in intervals, because it was rounded: rounds of steps towards the middle of those that are missed.
    """
    unit = float(1 << up)
    height, width = plane.shape
    h, w = cells.shape
    values = np.zeros((h, w))
    total, weight = np.zeros((h, w)), np.zeros((h, w))
    for y in range(height):
        near, far, m, n = rows[y, 0], rows[y, 1], rows[y, 2], rows[y, 3]
        for x in range(width):
            if known[y, x] == 2:
                left, right, a, b = columns[x, 0], columns[x, 1], columns[x, 2], columns[x, 3]
                _share(total, weight, plane[y, x], near, far, m, n, left, right, a, b)
    _fill(total, weight, values)
    for _ in range(rounds):
        total[:] = 0
        weight[:] = 0
        for y in range(height):
            near, far, m, n = rows[y, 0], rows[y, 1], rows[y, 2], rows[y, 3]
            for x in range(width):
                if known[y, x] == 2:
                    left, right, a, b = columns[x, 0], columns[x, 1], columns[x, 2], columns[x, 3]
                    sum_of_weights = (m + n) * (a + b)
                    now = m * (a * values[near, left] + b * values[near, right]) + n * (a * values[far, left] + b * values[far, right])
                    miss = plane[y, x] + ((unit - 1) / 2 - bias[rows[y, 4], columns[x, 4]]) / unit - now / sum_of_weights
                    miss = max(miss - SLACK, 0.0) + min(miss + SLACK, 0.0)
                    _share(total, weight, miss, near, far, m, n, left, right, a, b)
        for i in range(h):
            for j in range(w):
                if weight[i, j] > 0:
                    values[i, j] += 1.4 * total[i, j] / weight[i, j]
    for i in range(h):
        for j in range(w):
            cells[i, j] = min(max(int(np.floor(values[i, j] + 0.5)), 0), 255)
    for y in range(height):
        for x in range(width):
            if known[y, x] == 2 and rows[y, 3] == 0 and columns[x, 3] == 0:
                cells[rows[y, 0], columns[x, 0]] = plane[y, x]


@kernel("int64(int16[:,::1], uint8[:,::1], int16[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64, int64[::1])")
def polish(plane: Array, known: Array, cells: Array, rows: Array, columns: Array, bias: Array, up: int, reach: Array) -> Any:
    """Go once through the cells and change by 1 those with which more of a plane (H, W) is met where it is known; how many were changed."""
    height, width = plane.shape
    h, w = cells.shape
    changed = 0
    for i in range(h):
        y0, y1 = max(i * reach[4] + reach[0], 0), min(i * reach[4] + reach[1], height - 1)
        for j in range(w):
            x0, x1 = max(j * reach[5] + reach[2], 0), min(j * reach[5] + reach[3], width - 1)
            own = np.int64(cells[i, j])
            best, found = -1, own
            for step in range(3):
                tried = own + (step if step < 2 else -1)
                if tried < 0 or tried > 255:
                    continue
                cells[i, j] = tried
                cost = 0
                for y in range(y0, y1 + 1):
                    for x in range(x0, x1 + 1):
                        if known[y, x] == 2:
                            cost += abs(between(cells, rows, y, columns, x, bias, up) - plane[y, x])
                if best < 0 or cost < best:
                    best, found = cost, tried
                if cost == 0:
                    break
            cells[i, j] = found
            changed += found != own
    return changed


@kernel()
def _miss(
    pixels: Array, first: Array, second: Array, y: int, x: int, rows: Array, columns: Array, bias: Array, up: int,
    offsets: Array, luma: int, shift: int,
) -> Any:  # fmt: skip
    """0 if a pixel is reproduced from chroma cells; otherwise so much the more the further what its channels say of Y is apart."""
    c1, c2 = between(first, rows, y, columns, x, bias, up), between(second, rows, y, columns, x, bias, up)
    low, high = reproduces(pixels[y, x], c1, c2, offsets, luma, shift)
    return 0 if low <= high else FAILED + min(low - high, FARTHEST)


@kernel(
    "void(uint8[:,:,::1], int16[:,::1], int16[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64, "
    "int64[:,::1], int64, int64, int16[:,::1])"
)
def misses(
    pixels: Array, first: Array, second: Array, rows: Array, columns: Array, bias: Array, up: int,
    offsets: Array, luma: int, shift: int, result: Array,
) -> None:  # fmt: skip
    """How far pixels (H, W, 3) are from being reproduced from chroma cells (H, W)."""
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            result[y, x] = _miss(pixels, first, second, y, x, rows, columns, bias, up, offsets, luma, shift)


@kernel(
    "int64(int64, int64, int64, uint8[:,::1], uint8[:,:,::1], int16[:,::1], int16[:,::1], int16[:,::1], "
    "int64[:,::1], int64[:,::1], int64[:,::1], int64, int64[:,::1], int64, int64, int64[::1], int64[:,::1])"
)
def improve(
    top: int, bottom: int, radius: int, settled: Array, pixels: Array, first: Array, second: Array, missing: Array,
    rows: Array, columns: Array, bias: Array, up: int,
    offsets: Array, luma: int, shift: int, reach: Array, steps: Array,
) -> Any:  # fmt: skip
    """Go once through rows of cells, and change by one of `steps` those with which pixels are missed less; how many were changed.

    radius: of the steps. settled: (h, w), with steps of which radius a cell was tried in vain since anything near it changed.
    reach: first and last row, first and last column that a cell has a part in, relative to its first own one; rows and columns of a cell.
    """
    height, width = pixels.shape[:2]
    changed = 0
    for i in range(top, bottom):
        y0, y1 = max(i * reach[4] + reach[0], 0), min(i * reach[4] + reach[1], height - 1)
        for j in range(first.shape[1]):
            if settled[i, j] >= radius:
                continue
            x0, x1 = max(j * reach[5] + reach[2], 0), min(j * reach[5] + reach[3], width - 1)
            before = 0
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    before += missing[y, x]
            if before == 0:
                continue
            own1, own2 = np.int64(first[i, j]), np.int64(second[i, j])
            best, best1, best2 = before, own1, own2
            for step in range(1, len(steps)):
                c1, c2 = own1 + steps[step, 0], own2 + steps[step, 1]
                if c1 < 0 or c1 > 255 or c2 < 0 or c2 > 255:
                    continue
                first[i, j], second[i, j] = c1, c2
                cost = 0
                for y in range(y0, y1 + 1):
                    for x in range(x0, x1 + 1):
                        if cost < best:
                            cost += _miss(pixels, first, second, y, x, rows, columns, bias, up, offsets, luma, shift)
                if cost < best:
                    best, best1, best2 = cost, c1, c2
                    if best == 0:
                        break
            first[i, j], second[i, j] = best1, best2
            settled[i, j] = radius
            if best < before:
                changed += 1
                for k in range(max(i - NEAR, 0), min(i + NEAR + 1, first.shape[0])):
                    for m in range(max(j - NEAR, 0), min(j + NEAR + 1, first.shape[1])):
                        settled[k, m] = 0
                for y in range(y0, y1 + 1):
                    for x in range(x0, x1 + 1):
                        missing[y, x] = _miss(pixels, first, second, y, x, rows, columns, bias, up, offsets, luma, shift)
    return changed


@kernel()
def shown(y: Any, c1: Any, c2: Any, channel: int, offsets: Array, luma: int, shift: int) -> Any:
    """R, G or B of Y, C1, C2."""
    if channel == 0:
        offset = offsets[0, c2]
    elif channel == 1:
        offset = offsets[1, c1] + offsets[2, c2]
    else:
        offset = offsets[3, c1]
    return min(max((luma * y + offset) >> shift, 0), 255)


@kernel("void(uint8[:,:,::1], int16[:,::1], int16[:,::1], int64[:,::1], int64, int64, uint8[:,::1])")
def choose_luma(pixels: Array, first: Array, second: Array, offsets: Array, luma: int, shift: int, result: Array) -> None:
    """Y (H, W) of pixels (H, W, 3) from chroma at every pixel, int16 (H, W).

    Where several Y give the pixel, the one that is nearest to what the neighbours let expect; where none does, one that comes near.
    """
    height, width = pixels.shape[:2]
    for y in range(height):
        for x in range(width):
            low, high = reproduces(pixels[y, x], first[y, x], second[y, x], offsets, luma, shift)
            if low < high:
                west: Any = np.int64(result[y, x - 1]) if x > 0 else -1
                north = np.int64(result[y - 1, x]) if y > 0 else west
                west = north if west < 0 else west
                corner = np.int64(result[y - 1, x - 1]) if x > 0 and y > 0 else north
                guess = min(max(west + north - corner, min(west, north)), max(west, north)) if west >= 0 else 128
                low = min(max(guess, low), high)
            elif low > high:
                best, low0, high0 = 1 << 20, min(max(high, 0), 255), min(max(low, 0), 255)
                for step in range(5):
                    tried = low0 + (high0 - low0) * step // 4
                    miss = 0
                    for channel in range(3):
                        miss += abs(
                            np.int64(pixels[y, x, channel]) - shown(tried, first[y, x], second[y, x], channel, offsets, luma, shift)
                        )
                    if miss < best:
                        best, low = miss, tried
            result[y, x] = low


@kernel("void(uint8[:,:,::1], uint8[:,::1], uint8[:,::1], int64[:,::1], int64, int64, int16[:,::1], int16[:,::1])")
def luma_bounds(pixels: Array, first: Array, second: Array, offsets: Array, luma: int, shift: int, low: Array, high: Array) -> None:
    """The least and the largest Y (H, W) that give pixels (H, W, 3) from chroma at every pixel; where none does, the second is smaller."""
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            low[y, x], high[y, x] = reproduces(pixels[y, x], first[y, x], second[y, x], offsets, luma, shift)
