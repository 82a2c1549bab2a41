"""What the network of `jpeg` is told of blocks, and what is remembered of them; the formulas are those of `jpeg/features.py`.

Blocks are rows of `values`, int16 (rows, 64) in zigzag order, whose last row is 0 and stands for what is outside a tile. Of n blocks `at`
are the rows, `around` (n, 6) those of their neighbours, `which` the component of each among `steps` (components, 64) and others.
"""

from typing import Any

import numpy as np

from ..jpeg.units import (
    BASIS_BITS,
    CLAMP,
    DEAD,
    EDGE_LIMIT,
    EDGE_UNIT,
    LAST_SEEN,
    MAGNITUDE,
    MEAN_RATE,
    MEAN_UNIT,
    NEAR,
    OTHER_SIGNED,
    SHRINK,
    SIDE_SIGNED,
    SIGNED_CORNER,
    SIGNED_SEEN,
    ZIGZAG,
)
from .jit import Array, kernel

PLACES = np.array([0, 1, 5, 6, 14, 15, 27, 28, 0, 2, 3, 9, 10, 20, 21, 35], np.int64)
"""Zigzag places of what the 16 predictions are of."""
TOPS, LEFTS = np.array(ZIGZAG) & 7, 8 + (np.array(ZIGZAG) >> 3)
"""Which predictions, from above and from the left, coefficients add to."""
NONE = NEAR + 1  # the token of a difference of 0


@kernel()
def _companded(table: Array, value: Any) -> Any:
    """What a table of -MAGNITUDE..MAGNITUDE has for a value."""
    return table[min(max(value, -MAGNITUDE), MAGNITUDE) + MAGNITUDE]


@kernel()
def _in_steps(edge: Any, step: Any) -> Any:
    """A prediction in 1/8 step."""
    return min(max(edge // (step << (BASIS_BITS - 3)), -EDGE_LIMIT), EDGE_LIMIT)


@kernel(
    "void(int64[::1], int64[:,::1], int64[::1], int16[:,::1], int16[:,::1], int64[:,::1], int16[:,::1], int32[:,:,::1], "
    "int8[::1], int8[::1], int8[::1], int16[:,::1], int16[:,::1], int32[:,::1])"
)
def look(
    at: Array,
    around: Array,
    which: Array,
    values: Array,
    means: Array,
    steps: Array,
    initial: Array,
    beside: Array,
    signed: Array,
    mean: Array,
    edge: Array,
    inputs: Array,
    before: Array,
    edges: Array,
) -> None:
    """Fill in the first OWN inputs (n, ...), mean magnitudes before the blocks (n, 64), and predictions of edges (n, 16).

    beside: what coefficients of W and N add to predictions, (2, 64, 16). means: of `values`. initial: (components, 64).
    """
    outside = len(values) - 1
    for i in range(len(at)):
        w, n, nw, ne, ww, nn = around[i]
        there_w, there_n = w != outside, n != outside
        x, p = inputs[i], which[i]
        pairs = ((w, n), (w, nw), (n, nw), (ne, n), (w, ww), (n, nn))
        column = 0
        for a, b in pairs:
            told: Any = np.int32(0)
            if a != outside and b != outside:
                told = np.int32(values[a, 0]) - np.int32(values[b, 0])
            x[column] = _companded(signed, told)
            column += 1
        for k in range(1, 1 + SIGNED_SEEN):
            x[column] = _companded(signed, values[w, k])
            x[column + SIGNED_SEEN] = _companded(signed, values[n, k])
            column += 1
        column += SIGNED_SEEN
        for k in range(1, 1 + SIGNED_CORNER):
            x[column] = _companded(signed, values[nw, k])
            x[column + SIGNED_CORNER] = _companded(signed, values[ne, k])
            column += 1
        column += SIGNED_CORNER - 1
        for k in range(64):
            west, north = abs(np.int32(values[w, k])), abs(np.int32(values[n, k]))
            corners = abs(np.int32(values[nw, k])) + abs(np.int32(values[ne, k]))
            second = abs(np.int32(values[ww, k])) + abs(np.int32(values[nn, k]))
            first: Any = np.int32(initial[p, k])
            m = 3 * (np.int32(means[w, k]) if there_w else first) + 3 * (np.int32(means[n, k]) if there_n else first)
            m += (np.int32(means[nw, k]) if nw != outside else first) + (np.int32(means[ne, k]) if ne != outside else first)
            before[i, k] = m >> 3
            if k > 0:
                x[column + k] = _companded(signed, west)
                x[column + 63 + k] = _companded(signed, north)
                x[column + 126 + k] = _companded(signed, corners)
                x[column + 189 + k] = _companded(signed, second)
                x[column + 252 + k] = mean[m >> 3]
        column += 316
        for u in range(16):
            edges[i, u] = 0
        for k in range(64):
            step = steps[p, k]
            top, left = TOPS[k], LEFTS[k]
            if values[w, k]:
                edges[i, left] += np.int32(min(max(values[w, k] * step, -CLAMP), CLAMP)) * beside[0, k, left]
            if values[n, k]:
                edges[i, top] += np.int32(min(max(values[n, k] * step, -CLAMP), CLAMP)) * beside[1, k, top]
        for u in range(16):
            told = np.int32(0)
            if u % 8:
                if there_n if u < 8 else there_w:
                    told = np.int32(_in_steps(edges[i, u], steps[p, PLACES[u]]))
            elif u == 0 and there_n and there_w:
                step = steps[p, 0]
                told = np.int32(_in_steps(edges[i, 0], step) - _in_steps(edges[i, 8], step))
            x[column + u] = edge[min(max(told, -EDGE_LIMIT), EDGE_LIMIT) + EDGE_LIMIT]
        column += 16
        for j in range(6):
            x[column + j] = 64 if around[i, j] != outside else 0


@kernel(
    "void(int64[::1], int64[:,::1], int64, int16[:,::1], int16[:,::1], int16[:,::1], int16[:,::1], int8[::1], int8[::1], int64, "
    "int16[:,::1])"
)
def look_beside(
    at: Array,
    around: Array,
    outside: int,
    means: Array,
    signs: Array,
    slopes: Array,
    other: Array,
    signed: Array,
    mean: Array,
    first: int,
    inputs: Array,
) -> None:
    """Fill in the inputs from `first` on with what earlier components hold at the blocks, see `features.Side`."""
    for i in range(len(at)):
        row, w, n = at[i], around[i, 0], around[i, 1]
        if w == outside:
            w = n
        if n == outside:
            n = w
        if w == outside:
            w = n = row
        x, column = inputs[i], first
        for k in range(1, 64):
            x[column] = mean[means[row, k]]
            column += 1
        for k in range(SIDE_SIGNED):
            a: Any = np.int32(signs[row, k])
            if k == 0:
                a -= (np.int32(signs[w, 0]) + np.int32(signs[n, 0])) >> 1
            x[column] = _companded(signed, a)
            column += 1
        for k in range(3):
            x[column] = _companded(signed, slopes[row, k])
            column += 1
        for k in range(OTHER_SIGNED):
            a = np.int32(other[row, k])
            if k == 0:
                a -= (np.int32(other[w, 0]) + np.int32(other[n, 0])) >> 1
            x[column] = _companded(signed, a)
            column += 1
        for k in range(1, 64):
            x[column] = _companded(signed, abs(np.int32(other[row, k])))
            column += 1


@kernel(
    "void(int64, int64, int64, int64, int64[::1], int64[::1], int64[:,::1], int64[::1], int16[:,::1], int64[:,::1], int32[:,::1], "
    "int8[::1], int64, int64, int32[:,::1], int16[:,::1], int32[:,::1])"
)
def tell(
    first: int,
    last: int,
    end: int,
    diagonal: int,
    rows: Array,
    at: Array,
    around: Array,
    which: Array,
    values: Array,
    steps: Array,
    own: Array,
    edge: Array,
    outside: int,
    column: int,
    edges: Array,
    inputs: Array,
    near: Array,
) -> None:
    """What the head of a group is told of edges, from `column` of its inputs (m, ...) on, and what tokens are counted from (m, size).

    rows: (m) of the n blocks. The group has the zigzag places first..last; those from last to end are known since the group before and
    are added to the predictions (n, 16) first. own: what coefficients add to predictions, (64, 16).
    """
    for i in range(len(rows)):
        r = rows[i]
        p = which[r]
        for k in range(last, end):
            if values[at[r], k]:
                a = np.int32(min(max(values[at[r], k] * steps[p, k], -CLAMP), CLAMP))
                edges[r, TOPS[k]] += a * own[k, TOPS[k]]
                edges[r, LEFTS[k]] += a * own[k, LEFTS[k]]
        there_w, there_n = around[r, 0] != outside, around[r, 1] != outside
        x = inputs[i]
        for k in range(last - first):
            near[i, k] = 0
        x[column + 16], x[column + 17] = 0, 0
        top = _in_steps(edges[r, 0], steps[p, 0]) if there_n else 0
        left = _in_steps(edges[r, 8], steps[p, 0]) if there_w else 0
        if diagonal == 0:
            middle = (top + left) >> 1 if there_n and there_w else top + left
            shift = (middle + 4) >> 3
            near[i, 0] = shift
            top, left = (top - EDGE_UNIT * shift if there_n else 0), (left - EDGE_UNIT * shift if there_w else 0)
            x[column + 16] = 2 * (middle - EDGE_UNIT * shift)
        else:
            top, left = (top - left if there_n and there_w else 0), 0
        for u in range(16):
            told: Any = np.int64(0)
            if u == 0:
                told = top
            elif u == 8:
                told = left
            elif there_n if u < 8 else there_w:
                told = _in_steps(edges[r, u], steps[p, PLACES[u]])
            x[column + u] = edge[min(max(told, -EDGE_LIMIT), EDGE_LIMIT) + EDGE_LIMIT]
            if 0 < diagonal < 8 and u % 8 == diagonal:
                shift = 0
                if abs(told) > DEAD:
                    shift = (abs(told) - SHRINK + 4) >> 3
                    if told < 0:
                        shift = -shift
                near[i, PLACES[u] - first] = shift
                x[column + 16 + u // 8] = min(max(2 * (told - EDGE_UNIT * shift), -127), 127)


@kernel("void(int64[::1], int64[::1], int64, int64, int64[::1], int16[:,::1], int16[:,::1], int8[::1], int64, int16[:,::1])")
def tell_known(
    rows: Array, at: Array, last: int, width: int, places: Array, values: Array, hidden: Array, signed: Array, edges: int, inputs: Array
) -> None:
    """The rest of a head's inputs (m, ...): hidden vector, last place, and after so many of edges the coefficients from `last` on."""
    for i in range(len(rows)):
        r = rows[i]
        x = inputs[i]
        for j in range(width):
            x[j] = hidden[r, j]
        place = places[r]
        for j in range(LAST_SEEN - 1):
            x[width + j] = 64 if place >= 4 * (j + 1) else 0
        x[width + LAST_SEEN - 1] = 2 * place
        column = width + LAST_SEEN + edges - last
        for k in range(last, 64):
            told = _companded(signed, values[at[r], k])
            x[column + k] = told
            x[column + 64 - last + k] = abs(np.int16(told))


@kernel("int64(int64[::1], int64[::1], int64, int64, int32[:,::1], int64[::1], int64[::1], int32[::1], uint8[::1])")
def coded(rows: Array, last: Array, first: int, end: int, near: Array, row: Array, place: Array, counted: Array, none: Array) -> int:
    """Which coefficients of a group are coded, given last places (n): their rows among `rows`, places in the group, what they are counted
    from, and whether 0 is impossible; returns their number."""
    count = 0
    for i in range(len(rows)):
        final = last[rows[i]]
        for k in range(first, min(end, final + 1)):
            row[count], place[count], counted[count] = i, k - first, near[i, k - first]
            none[count] = 1 if k == final and final > 0 and near[i, k - first] == 0 else 0
            count += 1
    return count


@kernel("void(int64[::1], int16[:,::1], int16[:,::1], int16[:,::1])")
def remember(at: Array, before: Array, values: Array, means: Array) -> None:
    """Means with the blocks themselves, of those before them."""
    for i in range(len(at)):
        for k in range(64):
            own: Any = abs(np.int32(values[at[i], k]))
            magnitude: Any = min(own, MAGNITUDE) * MEAN_UNIT
            means[at[i], k] = before[i, k] + ((magnitude - before[i, k]) >> MEAN_RATE)


@kernel("void(int32[:,::1], int64[::1], int64[::1], int64, uint8[::1], int32[::1], float32[:,::1])")
def weights(sums: Array, rows: Array, firsts: Array, count: int, none: Array, category: Array, out: Array) -> None:
    """Weights (m, 16) of `count` values, whose logits are those of a row from a place on; values beyond have 1.

    none: where the value NONE has 1 as well, (m) or empty.
    """
    for i in range(len(rows)):
        row, first = rows[i], firsts[i]
        skipped = NONE if len(none) and none[i] else -1
        largest = np.int32(-(1 << 30))
        for j in range(count):
            if j != skipped:
                largest = max(largest, sums[row, first + j])
        for j in range(16):
            out[i, j] = 1
        for j in range(count):
            if j != skipped:
                out[i, j] = max(category[min(largest - sums[row, first + j], len(category) - 1)], 1)
