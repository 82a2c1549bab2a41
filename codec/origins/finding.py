"""From pixels to the planes that they come from."""

import numpy as np

from ..parallel import each
from . import detection, kernels
from .inversion import SWEEPS, find_cells, first_estimate
from .planes import Planes
from .sampling import Sampling, chroma
from .table import Bytes, Origin


def find(pixels: Bytes, workers: int = 1) -> Planes | None:
    """The planes that RGB pixels (H, W, 3) come from, or None."""
    found = detection.detect(np.array(pixels), workers)
    return invert(pixels, *found, workers) if found else None


def invert(pixels: Bytes, origin: Origin, sampling: Sampling, workers: int = 1) -> Planes:
    """The planes that come nearest to pixels (H, W, 3), given where these come from."""
    pixels = np.array(pixels)
    cells = find_cells(pixels, origin, sampling, first_estimate(pixels, origin, workers), SWEEPS, workers)
    first, second = each(lambda plane: chroma(plane, sampling, pixels.shape[:2]), (cells.first, cells.second), workers)
    luma = np.empty(pixels.shape[:2], np.uint8)
    kernels.choose_luma(pixels, first, second, *origin.forward, luma)
    return Planes(origin, sampling, luma, cells.first.astype(np.uint8), cells.second.astype(np.uint8))
