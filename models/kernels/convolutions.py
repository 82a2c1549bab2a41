"""Layers over 3 x 3 places of maps, from which they are gathered strip by strip, and products by `products.multiply`."""

import numpy as np

from .jit import Array, call, kernel

NEAR = 9


@kernel(
    "void(int16[:,:,:,::1], int64, int64, int16[:,:,::1], int32[::1], int32[::1], int32[::1], int16[:,::1], int32[:,::1], "
    "int16[:,:,:,::1], int64)"
)
def around(
    x: Array,
    margin: int,
    step: int,
    w: Array,
    bias: Array,
    shift: Array,
    skip: Array,
    gathered: Array,
    sums: Array,
    out: Array,
    multiply: int,
) -> None:
    """clamp((W (the 3 x 3 places around, `step` rows and columns away) + b + (x << skip)) >> shift, 0, 127) of every place.

    x: (maps, rows + 2 margin, columns + 2 margin, n), the margin zeros, and out, of as many places. w, bias, shift: as `products.Packed`
    has them. skip: (outputs), or empty if there is none. gathered: scratch (rows, 9 n in whole fours), zeros behind 9 n. sums: scratch
    (rows, outputs in whole tiles).
    """
    count, depth, outputs = len(gathered), x.shape[3], out.shape[3]
    rows, columns = x.shape[1] - 2 * margin, x.shape[2] - 2 * margin
    places = x.shape[0] * rows * columns
    for first in range(0, places, count):
        some = min(count, places - first)
        for i in range(some):
            place = first + i
            t, y, c = place // (rows * columns), place // columns % rows + margin, place % columns + margin
            for tap in range(NEAR):
                source = x[t, y + (tap // 3 - 1) * step, c + (tap % 3 - 1) * step]
                target = gathered[i, tap * depth : (tap + 1) * depth]
                for j in range(depth):
                    target[j] = source[j]
        call(
            multiply,
            gathered.ctypes.data,
            gathered.strides[0],
            some,
            w.shape[1],
            w.ctypes.data,
            w.shape[0],
            bias.ctypes.data,
            sums.ctypes.data,
            sums.strides[0],
        )
        for i in range(some):
            place = first + i
            t, y, c = place // (rows * columns), place // columns % rows + margin, place % columns + margin
            own, target, line = x[t, y, c], out[t, y, c], sums[i]
            if len(skip):
                for j in range(outputs):
                    line[j] += np.int32(own[j]) << skip[j]
            for j in range(outputs):
                target[j] = min(max(line[j] >> shift[j], np.int32(0)), np.int32(127))
