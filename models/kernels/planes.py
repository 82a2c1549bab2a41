"""What the network of `planes` is told of side planes, which are known as wholes: at every pixel of a step, and ahead of it.

Of a side plane with the value s at the pixel and the combined prediction q: the hints S[s - m], clamp(8 (s - m), -127, 127) with
m = (q + 4) >> 3, then S[s' - s] for its values s' at the places ahead; 0 where these are outside the tile.
"""

from typing import Any

import numpy as np

from ..units import FRACTION, SIGNED_LIMIT
from .jit import Array, kernel

SIDES = 2


@kernel(
    "void(int64, int64, int64, int64[:,::1], int16[:,:,:,::1], int64[:,::1], int8[::1], int64, "
    "int16[:,::1], int16[:,::1], int16[:,::1], int16[:,::1])"
)
def tell(
    step: int,
    low: int,
    rows: int,
    sizes: Array,
    sides: Array,
    ahead: Array,
    signed: Array,
    first: int,
    combined: Array,
    inputs: Array,
    values: Array,
    away: Array,
) -> None:
    """Fill in the network's input (n, ...) from its place `first` on, and planes and residuals 1 and 2 of the pixels (n, 3).

    sizes: height and width of the tiles. sides: (tiles, height, width, 2), around 0. ahead: (dy, dx) of the places.
    """
    for tile in range(len(sizes)):
        height, width = sizes[tile]
        for row in range(low, low + rows):
            i, column = tile * rows + row - low, step - 2 * row
            for c in range(SIDES):
                own: Any = np.int32(sides[tile, row, column, c])
                residual = own - ((np.int32(combined[i, 1 + c]) + FRACTION // 2) >> 3)
                values[i, 1 + c], away[i, 1 + c] = own, residual
                inputs[i, first + 2 * c] = signed[min(max(residual + SIGNED_LIMIT, 0), 2 * SIGNED_LIMIT)]
                inputs[i, first + 2 * c + 1] = min(max(8 * residual, -127), 127)
                at = first + 2 * SIDES + c
                for a in range(len(ahead)):
                    y, x = row + ahead[a, 0], column + ahead[a, 1]
                    told = np.int8(0)
                    if y < height and 0 <= x < width:
                        told = signed[min(max(sides[tile, y, x, c] - own + SIGNED_LIMIT, 0), 2 * SIGNED_LIMIT)]
                    inputs[i, at + SIDES * a] = told
