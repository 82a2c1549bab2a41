"""What pixels say of the samples of the JPEG picture that they may have come from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..origins import kernels as origin_kernels
from ..origins.table import BY_NUMBER
from .picture import Picture

Bytes = NDArray[np.uint8]
Plane = NDArray[np.int16]
Offset = tuple[int, int]
JPEG = BY_NUMBER[2]
MOST_WRONG = 0.05  # share of pixels that may have to be corrected


@dataclass(frozen=True)
class Recognised:
    """smooth: whether chroma is interpolated, see `pixels.enlarged`. offset: rows and columns of the picture that lie above and left of
    the pixels, 0..15, because these were cut out of it. corrections: what turns what the picture shows into the pixels, see
    `origins.exceptions`; empty if nothing does."""

    picture: Picture
    smooth: bool
    offset: Offset
    corrections: bytes


@dataclass(frozen=True)
class Bounds:
    """Between which levels samples are, int16 (H, W), both included, and one of them to begin with, uint8 (H, W)."""

    low: Plane
    high: Plane
    start: Bytes


def luma_within(image: Bytes, first: Bytes, second: Bytes, offset: Offset = (0, 0)) -> tuple[Bounds, NDArray[np.bool_]]:
    """Of luma, given chroma at every pixel; anything where no luma gives the pixel, and where that is so."""
    low, high = np.empty(image.shape[:2], np.int16), np.empty(image.shape[:2], np.int16)
    origin_kernels.luma_bounds(image, first, second, *JPEG.forward, low, high)
    none = low > high
    none[: offset[0]], none[:, : offset[1]] = True, True
    start = ((low + high) // 2).clip(0, 255).astype(np.uint8)
    return Bounds(np.where(none, 0, low), np.where(none, 255, high), start), none


def sure_blocks(bounds: Bounds) -> Plane:
    """Whole blocks (n, 8, 8) whose samples are known, and none at its end."""
    rows, columns = bounds.low.shape[0] // 8, bounds.low.shape[1] // 8
    low, high = (
        p[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8) for p in (bounds.low, bounds.high)
    )
    blocks: Plane = low[((low == high) & (low > 0) & (high < 255)).all((1, 2))]
    return blocks
