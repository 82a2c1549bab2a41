"""Integer weights of a value's next bits, given those above them, by a mixture of logistics; the formulas are those of `mixtures.py`."""

import numpy as np

from ..units import GREY, INVERSE_BITS, LOGIT_LIMIT, OFFSET_LIMIT, REACH, SCALE_HIGH, SCALE_LOW, SIGMOID_BITS, SPARE_BITS, STEPS
from .jit import Array, kernel

LAST, MIDDLE = 2 * REACH * STEPS - 1, REACH * STEPS << INVERSE_BITS  # of the sigmoid's table
LEVELS = 256


@kernel("void(int32[:,::1], int32[::1], int32[::1], int64, int32[::1], int32[::1], int32[::1], int32[::1], float32[:,::1])")
def weights(
    outputs: Array, centres: Array, lows: Array, step: int, inverse: Array, sigmoid: Array, share: Array, below: Array, out: Array
) -> None:
    """Weights (n, entries) of the values low ... low + step - 1, those `step` above them, and so on.

    outputs: (n, 3 K) offsets, log-scales, logits. centres: (n). below: scratch (entries + 1).
    """
    entries, mixtures = out.shape[1], outputs.shape[1] // 3
    for i in range(len(out)):
        low = lows[i]
        most, total = np.int32(-LOGIT_LIMIT), np.int32(0)
        for k in range(mixtures):
            most = max(most, min(outputs[i, 2 * mixtures + k], np.int32(LOGIT_LIMIT)))
        for e in range(entries + 1):
            below[e] = 0
        for k in range(mixtures):
            offset = min(max(outputs[i, k], np.int32(-OFFSET_LIMIT)), np.int32(OFFSET_LIMIT))
            scale = min(max(outputs[i, mixtures + k], np.int32(SCALE_LOW)), np.int32(SCALE_HIGH))
            logit = min(max(outputs[i, 2 * mixtures + k], np.int32(-LOGIT_LIMIT)), np.int32(LOGIT_LIMIT))
            slope, part = inverse[scale - SCALE_LOW], share[most - logit]
            total = np.int32(total + part)
            start = np.int32(low * GREY - GREY // 2 - centres[i] - offset)
            for e in range(entries + 1):
                place = np.int32(np.int32(start + np.int32(e * step * GREY)) * slope + np.int32(MIDDLE)) >> np.int32(INVERSE_BITS)
                below[e] = np.int32(below[e] + sigmoid[min(max(place, np.int32(0)), np.int32(LAST))] * part)
        if low == 0:
            below[0] = 0
        if low + entries * step == LEVELS:
            below[entries] = total << SIGMOID_BITS
        for e in range(entries + 1):
            below[e] >>= np.int32(SPARE_BITS)
        for e in range(entries):
            out[i, e] = np.float32(below[e + 1] - below[e] + np.int32(1))
