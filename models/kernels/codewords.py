"""Choosing the codes of vectors: the codeword with the least squared error + price x code length.

Code lengths come from integer weights: log2 of their sum - log2 w. This is floating point, before the entropy coder: which codes are
chosen is the encoder's affair.
"""

import numpy as np

from ..units import CATEGORY_BITS
from .jit import Array, kernel

LOGARITHMS = np.log2(np.arange(1, (1 << CATEGORY_BITS) + 2)).astype(np.float32)
"""log2 of 1 ... the largest weight of a code."""


@kernel("void(float32[:,::1], float32[:,::1], float32[::1], float32, float32[::1], float32[:,::1], float32[::1], int64[::1])")
def choose(
    values: Array, vectors: Array, squares: Array, price: float, logarithms: Array, weights: Array, costs: Array, chosen: Array
) -> None:
    """The codewords, as numbers (n), of values (n, D). vectors: (D, codewords), their squared lengths `squares` (codewords).

    price: squared error that a bit is worth; 0: weights, (n, codewords), are not looked at. costs: scratch (codewords).
    """
    for i in range(len(chosen)):
        for e in range(len(costs)):
            costs[e] = 0
        for d in range(values.shape[1]):
            value, vector = values[i, d], vectors[d]
            for e in range(len(costs)):
                costs[e] += value * vector[e]
        for e in range(len(costs)):
            costs[e] = squares[e] - np.float32(2) * costs[e]
        if price > 0:
            total = np.int32(0)
            for e in range(len(costs)):
                total = np.int32(total + np.int32(weights[i, e]))
            most = np.float32(np.log2(total))
            for e in range(len(costs)):
                costs[e] += price * (most - logarithms[np.uint32(weights[i, e]) - np.uint32(1)])
        best = 0
        for e in range(1, len(costs)):
            if costs[e] < costs[best]:
                best = e
        chosen[i] = best
