"""Patches as rows: in which order the prior goes through them, and which lie around each.

In the coarsest grid rows go row by row, picture after picture; in a finer one by the coarse patch that holds them, its four quarters row
by row. So the rows under a coarse patch lie together, and its keys and values serve all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..model import Places
from .prior import TransformerConfig


def order(side: int, coarsest: int, height: int, width: int) -> Places:
    """Raster indices of the patches of `side` places in a map of height x width places, in the order of the rows; int64."""
    ratio = coarsest // side
    h, w = height // side, width // side
    grid = np.arange(h * w).reshape(h // ratio, ratio, w // ratio, ratio).swapaxes(1, 2).reshape(-1, ratio, ratio)
    while ratio > 1:  # quarter after quarter
        half = ratio // 2
        grid = grid.reshape(-1, 2, half, 2, half).swapaxes(2, 3).reshape(-1, half, half)
        ratio = half
    return grid.ravel()


def around(side: int, coarsest: int, taps: int, pictures: int, height: int, width: int) -> Places:
    """The rows around every row, (rows, taps); `rows` stands for what is outside. taps: 9, or 1 for the row alone."""
    h, w = height // side, width // side
    raster = order(side, coarsest, height, width)
    row_of = np.empty_like(raster)
    row_of[raster] = np.arange(h * w)
    grid = np.full((pictures, h + 2, w + 2), pictures * h * w)
    grid[:, 1:-1, 1:-1] = row_of.reshape(h, w) + np.arange(pictures).reshape(-1, 1, 1) * h * w
    steps = [(dy, dx) for dy in range(3) for dx in range(3)] if taps == 9 else [(1, 1)]
    seen = np.stack([grid[:, dy : dy + h, dx : dx + w].reshape(pictures, -1) for dy, dx in steps], -1)
    return np.ascontiguousarray(seen[:, raster].reshape(-1, taps))


class Front(ABC):
    """The prior over the codes of some pictures of one size, layer after layer: `weights`, then `tell`, then the same of the next."""

    def __init__(self, config: TransformerConfig, pictures: int, height: int, width: int) -> None:
        """height, width: of the map, in places; whole patches of the coarsest grid."""
        self.config, self.size = config, (pictures, height, width)
        self.layer = 0
        self.codes: Places | None = None  # of the layer before
        self.coarse = pictures * (height // config.sides[0]) * (width // config.sides[0])

    @property
    def rows(self) -> int:
        """Rows of the next layer."""
        return self.coarse * (self.config.sides[0] // self.config.sides[self.layer]) ** 2

    def around(self, side: int) -> Places:
        """The rows around every row of a grid."""
        return around(side, self.config.sides[0], self.config.taps, *self.size)

    @abstractmethod
    def weights(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """(rows, weights (n, entries)) of the next layer, in order: integers, see `category_weights`."""

    def tell(self, codes: Places) -> None:
        """The codes (rows) of the layer whose weights were given last, int64; on to the next layer."""
        self.codes = codes
        self.layer += 1
