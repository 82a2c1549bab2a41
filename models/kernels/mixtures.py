"""Integer weights of nibbles from the outputs of a network; the formulas are those of `frequencies.Distribution`.

A mixture of K logistics around a centre, in units of 1/GREY grey level: with (o, s, g) = the offset, log-scale and logit of a
logistic, all clamped, its cumulative distribution at an edge e is S[((e - centre - o) I[s] + MIDDLE) >> 8] A[max g - g], clamped to
the ends of S, with the tables I, S and A of the weights file. The weight of a nibble is the difference of the mixture's at its two
edges, plus 1.
"""

import numpy as np

from ..units import GREY, INVERSE_BITS, LOGIT_LIMIT, OFFSET_LIMIT, REACH, SCALE_HIGH, SCALE_LOW, SIGMOID_BITS, SPARE_BITS, STEPS
from .jit import Array, kernel

LAST, MIDDLE = 2 * REACH * STEPS - 1, REACH * STEPS << INVERSE_BITS  # of the sigmoid's table


@kernel("void(int32[:,::1], int64, int32[::1], int32[::1], int32[::1], int32[::1], int32[::1], int32[:,::1], float32[:,::1])")
def nibbles(
    outputs: Array,
    mixtures: int,
    centres: Array,
    above: Array,
    inverse: Array,
    sigmoid: Array,
    share: Array,
    scratch: Array,
    weights: Array,
) -> None:
    """Weights (n, 16) of the high nibble, or of the low one under the high nibbles `above` (n); empty: the high one.

    outputs: (n, at least 3 K) offsets, log-scales and logits. centres: (n). scratch: (3, 17).
    """
    edges, places, below = scratch[0], scratch[1], scratch[2]
    count = scratch.shape[1]  # not a constant, so that the loops over it are vectors
    low = len(above) > 0
    for e in range(count):
        edges[e] = e * (GREY if low else 16 * GREY)
    for i in range(len(weights)):
        start = np.int32((above[i] * 16 * GREY if low else 0) - GREY // 2 - centres[i])
        most = np.int32(-LOGIT_LIMIT)
        for k in range(mixtures):
            most = max(most, min(outputs[i, 2 * mixtures + k], np.int32(LOGIT_LIMIT)))
        total = np.int32(0)
        for e in range(count):
            below[e] = 0
        for k in range(mixtures):
            offset = min(max(outputs[i, k], np.int32(-OFFSET_LIMIT)), np.int32(OFFSET_LIMIT))
            scale = min(max(outputs[i, mixtures + k], np.int32(SCALE_LOW)), np.int32(SCALE_HIGH))
            logit = min(max(outputs[i, 2 * mixtures + k], np.int32(-LOGIT_LIMIT)), np.int32(LOGIT_LIMIT))
            slope, part = inverse[np.uint32(scale - SCALE_LOW)], share[np.uint32(most - logit)]
            total = np.int32(total + part)
            first = np.int32(start - offset)
            for e in range(count):
                place = np.int32(np.int32(edges[e] + first) * slope + np.int32(MIDDLE)) >> np.int32(INVERSE_BITS)
                places[e] = min(max(place, np.int32(0)), np.int32(LAST))
            for e in range(count):
                below[e] = np.int32(below[e] + np.int32(sigmoid[np.uint32(places[e])] * part))
        if not low or above[i] == 0:
            below[0] = 0
        if not low or above[i] == 15:
            below[16] = total << SIGMOID_BITS
        for e in range(count):
            below[e] >>= np.int32(SPARE_BITS)
        for e in range(weights.shape[1]):
            weights[i, e] = np.float32(np.int32(below[e + 1] - below[e] + np.int32(1)))
