"""Symbols and their intervals of quantiles, from the outputs of a network; the formulas are those of `frequencies.Quantiles`.

With E the weight below a symbol s of L and P bits of precision, s owns the quantiles from C(s) = s + floor(E(s) (2^P - L) / E(L)) on.
E is a mixture's cumulative distribution, see `mixtures.py`, or the sum of what a table says of logits below the largest.
"""

from typing import Any

import numpy as np

from ..units import (
    DEEPEST,
    GREY,
    INVERSE_BITS,
    LOGIT_LIMIT,
    OFFSET_LIMIT,
    REACH,
    SCALE_HIGH,
    SCALE_LOW,
    SIGMOID_BITS,
    SPARE_BITS,
    STEPS,
)
from .jit import Array, kernel

LAST, MIDDLE = 2 * REACH * STEPS - 1, REACH * STEPS << INVERSE_BITS  # of the sigmoid's table


@kernel()
def _clamped(value: Any, low: int, high: int) -> Any:
    return min(max(np.int64(value), low), high)


@kernel()
def _mixture(output: Array, mixtures: int, centre: int, inverse: Array, share: Array, parts: Array) -> int:
    """Slopes, origins and shares of a mixture's logistics, parts (3, K); returns the weight of all symbols."""
    most, total = -LOGIT_LIMIT, 0
    for k in range(mixtures):
        most = max(most, _clamped(output[2 * mixtures + k], -LOGIT_LIMIT, LOGIT_LIMIT))
    for k in range(mixtures):
        slope = inverse[_clamped(output[mixtures + k], SCALE_LOW, SCALE_HIGH) - SCALE_LOW]
        part = share[most - _clamped(output[2 * mixtures + k], -LOGIT_LIMIT, LOGIT_LIMIT)]
        parts[0, k] = slope
        parts[1, k] = MIDDLE - (centre + _clamped(output[k], -OFFSET_LIMIT, OFFSET_LIMIT)) * slope
        parts[2, k] = part
        total += part
    return (total << SIGMOID_BITS) >> SPARE_BITS


@kernel()
def _mixture_below(symbol: int, levels: int, parts: Array, sigmoid: Array, precision: int, total: int) -> Any:
    """C of a symbol 0 ... levels of a mixture."""
    weight: Any = np.int64(0)
    if symbol >= levels:
        weight = total
    elif symbol > 0:
        step = 256 // levels
        edge = symbol * (step * GREY) - step * GREY // 2
        for k in range(parts.shape[1]):
            weight += sigmoid[_clamped((edge * parts[0, k] + parts[1, k]) >> INVERSE_BITS, 0, LAST)] * parts[2, k]
        weight >>= SPARE_BITS
    return symbol + weight * ((1 << precision) - levels) // total


@kernel(
    "void(int32[:,::1], int64, int32[::1], int32[::1], int32[::1], int32[::1], int64, int64, int64[::1], int64[:,::1], int64[::1], "
    "int64[::1], int64[::1])"
)
def find_in_mixtures(
    outputs: Array,
    mixtures: int,
    centres: Array,
    inverse: Array,
    sigmoid: Array,
    share: Array,
    levels: int,
    precision: int,
    quantiles: Array,
    parts: Array,
    symbols: Array,
    lows: Array,
    sizes: Array,
) -> None:
    """The symbols that own quantiles (n), and their intervals. centres: (n). parts: scratch (3, K)."""
    for i in range(len(quantiles)):
        total = _mixture(outputs[i], mixtures, centres[i], inverse, share, parts)
        low, high = 0, levels  # C(low) <= quantile < C(high)
        first, end = 0, 1 << precision
        while high - low > 1:
            middle = (low + high) >> 1
            below = _mixture_below(middle, levels, parts, sigmoid, precision, total)
            if below <= quantiles[i]:
                low, first = middle, below
            else:
                high, end = middle, below
        symbols[i], lows[i], sizes[i] = low, first, end - first


@kernel("void(int32[:,::1], int64, int32[::1], int32[::1], int32[::1], int32[::1], int64, int64, int64[:,::1], int64[:,::1], int64[:,::1])")
def below_in_mixtures(
    outputs: Array,
    mixtures: int,
    centres: Array,
    inverse: Array,
    sigmoid: Array,
    share: Array,
    levels: int,
    precision: int,
    symbols: Array,
    parts: Array,
    out: Array,
) -> None:
    """C at symbols (n, m)."""
    for i in range(len(symbols)):
        total = _mixture(outputs[i], mixtures, centres[i], inverse, share, parts)
        for j in range(symbols.shape[1]):
            out[i, j] = _mixture_below(symbols[i, j], levels, parts, sigmoid, precision, total)


@kernel()
def _categories(output: Array, table: Array, below: Array) -> None:
    """The weight below every symbol, (levels + 1)."""
    levels = len(below) - 1
    most = output[0]
    for j in range(levels):
        most = max(most, output[j])
    below[0] = 0
    for j in range(levels):
        below[j + 1] = below[j] + table[min(most - output[j], DEEPEST)]


@kernel("void(int32[:,::1], int32[::1], int64, int64[::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def find_in_categories(
    outputs: Array, table: Array, precision: int, quantiles: Array, weights: Array, symbols: Array, lows: Array, sizes: Array
) -> None:
    """The symbols that own quantiles (n), and their intervals. weights: scratch (levels + 1)."""
    levels = len(weights) - 1
    room = (1 << precision) - levels
    for i in range(len(quantiles)):
        _categories(outputs[i], table, weights)
        low, high = 0, levels  # C(low) <= quantile < C(high)
        first, end = 0, 1 << precision
        while high - low > 1:
            middle = (low + high) >> 1
            below = middle + weights[middle] * room // weights[levels]
            if below <= quantiles[i]:
                low, first = middle, below
            else:
                high, end = middle, below
        symbols[i], lows[i], sizes[i] = low, first, end - first


@kernel("void(int32[:,::1], int32[::1], int64, int64[:,::1], int64[::1], int64[:,::1])")
def below_in_categories(outputs: Array, table: Array, precision: int, symbols: Array, weights: Array, out: Array) -> None:
    """C at symbols (n, m)."""
    levels = len(weights) - 1
    for i in range(len(symbols)):
        _categories(outputs[i], table, weights)
        for j in range(symbols.shape[1]):
            out[i, j] = symbols[i, j] + weights[symbols[i, j]] * ((1 << precision) - levels) // weights[levels]
