"""Where the pixels of a batch of images are in the tables of an evaluator; what fills these is `compiled.py` or, in torch, `reference.py`.

Every layer's output is kept for every pixel of every image, as rows of one table, with a gap of zero rows between image rows that stands
for everything outside. `evaluate` goes through the layers once; in each it computes only those of the asked pixels whose inputs have
changed since, and compares the result with what was there: integers are equal or not, so where a change dies out nothing further is
computed. A pixel whose inputs have never been complete is simply one that was not asked for yet.

Encoding asks for all pixels at once, the wavefront for one step after the other, predictive decoding for a window, again and again, until
nothing changes.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import units
from ..model import Size

if TYPE_CHECKING:
    from .network import PixelCNNConfig

Rows = NDArray[np.int64]


class Grid:
    """pixels: of every image its rows in coding order. inside: whether a row is a pixel. stride: rows from a pixel to the one below it."""

    def __init__(self, config: "PixelCNNConfig", sizes: Sequence[Size]) -> None:
        """sizes: height and width of every image."""
        (first_up, first_left), (up, left) = config.first_taps(), config.block_taps()
        self.near = units.offsets(units.PIXEL_BLOCK) if config.context == "relative" else []
        every = [*first_up, *first_left, *up, *left, *self.near]
        self._gap = max(abs(dx) for _, dx in every)
        self._top = max(-dy for dy, _ in every)
        height, width = (max(size[i] for size in sizes) for i in (0, 1))
        self.stride = width + self._gap
        self._image_rows = (height + self._top) * self.stride
        self.rows = len(sizes) * self._image_rows + (self._top + 1) * self.stride + self._gap
        orders: dict[Size, Rows] = {}
        for h, w in sizes:
            if (h, w) not in orders:
                raster = config.order(h, w).numpy()
                orders[h, w] = (raster // w + self._top) * self.stride + raster % w + self._gap
        self.pixels: Sequence[Rows] = [i * self._image_rows + orders[h, w] for i, (h, w) in enumerate(sizes)]
        self.inside = np.zeros(self.rows, bool)
        for pixels in self.pixels:
            self.inside[pixels] = True
        self.taps = [self.offsets(taps) for taps in (first_up, first_left, up, left)]

    def offsets(self, taps: Iterable[tuple[int, int]]) -> Rows:
        """How many rows away the pixels at (dy, dx) are."""
        return np.array([dy * self.stride + dx for dy, dx in taps], np.int64)

    def whole_rows(self, pixels: Rows) -> Rows:
        """All pixels of the image rows that some pixels are in."""
        rows = np.unique(pixels // self.stride)
        places = (rows[:, None] * self.stride + np.arange(self.stride)).ravel()
        inside: Rows = places[self.inside[places]]
        return inside
