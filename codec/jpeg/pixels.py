"""From quantised coefficients to pixels, in exact integers, as libjpeg-turbo computes them with its accurate transform."""

import numpy as np
from numpy.typing import NDArray

from ..origins.sampling import Axis, Rule, Sampling
from ..origins.table import BY_NUMBER
from . import kernels
from .picture import Component, Picture

Bytes = NDArray[np.uint8]
_COLOURS = BY_NUMBER[2]
_RULES = {1: Rule.WHOLE, 2: Rule.TRIANGLE}
SMOOTH = 3  # cells across that interpolation along rows needs at least


def sampling_of(picture: Picture) -> tuple[int, int]:
    """The largest vertical and horizontal sampling factor."""
    return max(c.sampling[0] for c in picture.components), max(c.sampling[1] for c in picture.components)


def plane(component: Component) -> Bytes:
    """The samples of a component, uint8 (8 rows, 8 columns)."""
    rows, columns = component.coefficients.shape[:2]
    samples = np.empty((8 * rows, 8 * columns), np.uint8)
    blocks = np.ascontiguousarray(component.coefficients).reshape(rows, columns, 64)
    kernels.inverse(blocks, component.steps.astype(np.int32).reshape(64), kernels.LINE, samples)
    return samples


def enlarged(samples: Bytes, factors: tuple[int, int], size: tuple[int, int], smooth: bool) -> Bytes:
    """Samples brought to the size (height, width) of a picture, by vertical and horizontal factors of 1 to 4; uint8 (height, width).

    smooth: by triangles where libjpeg does so ("fancy"), which is for factors of 1 and 2; otherwise samples are repeated.
    """
    height, width = ((length - 1) // factor + 1 for length, factor in zip(size, factors, strict=True))
    cells = np.ascontiguousarray(samples[:height, :width])
    if factors == (1, 1):
        return cells
    smooth = smooth and max(factors) == 2 and (factors[1] == 1 or width >= SMOOTH)
    if smooth:
        sampling = Sampling(_RULES[factors[0]], _RULES[factors[1]])
        (rows, columns), bias, shift = sampling.axes(*size), sampling.bias, sampling.shift
    else:
        (rows, columns), bias, shift = (_repeated(*pair) for pair in zip(size, factors, strict=True)), np.zeros((2, 2), np.int64), 0
    result = np.empty(size, np.uint8)
    kernels.enlarge(cells, rows, columns, bias, shift, result)
    return result


def _repeated(length: int, factor: int) -> Axis:
    place = np.arange(length) // factor
    return np.column_stack([place, place, np.ones_like(place), np.zeros_like(place), np.zeros_like(place)]).astype(np.int64)


def show(picture: Picture, smooth: bool = True) -> Bytes:
    """The pixels of a picture of one component, uint8 (H, W), or of three, luma and chroma: uint8 (H, W, 3).

    smooth: as in `enlarged`. Raises ValueError for other numbers of components, and for factors that do not divide the largest.
    """
    size, largest = (picture.height, picture.width), sampling_of(picture)
    factors = [(largest[0] // c.sampling[0], largest[1] // c.sampling[1]) for c in picture.components]
    if len(factors) not in (1, 3) or any(whole % part for c in picture.components for whole, part in zip(largest, c.sampling, strict=True)):
        raise ValueError("only gray pictures, and luma and chroma of whole factors, can be shown")
    planes = [enlarged(plane(c), factor, size, smooth) for c, factor in zip(picture.components, factors, strict=True)]
    if len(planes) == 1:
        return planes[0]
    pixels = np.empty((*size, 3), np.uint8)
    kernels.colour(planes[0], planes[1], planes[2], _COLOURS.offsets, pixels)
    return pixels
