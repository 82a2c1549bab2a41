"""What a JPEG file says of a picture: quantised coefficients of the discrete cosine transform, and their quantisation steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Component:
    """One component of a picture, in whole blocks that fill whole minimum coded units.

    sampling: vertical and horizontal factor, 1..4 each. steps: (8, 8) uint16, of each coefficient, 1..65535.
    coefficients: (rows, columns, 8, 8) int16, of each block [vertical, horizontal frequency]: multiples of the steps, DC as it is and not
    as a difference.
    """

    sampling: tuple[int, int]
    steps: NDArray[np.uint16]
    coefficients: NDArray[np.int16]


@dataclass(frozen=True)
class Picture:
    """A picture of 1 to 4 components (luma, then chroma, or four of CMYK). height, width: in pixels."""

    height: int
    width: int
    components: tuple[Component, ...]
