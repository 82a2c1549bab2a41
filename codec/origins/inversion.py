"""From RGB pixels to the planes that they are the image of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parallel import each
from . import kernels
from .kernels import Misses
from .sampling import REACH, Plane, Rule, Sampling
from .table import Bytes, Origin

ROUNDS, FEW_ROUNDS = 40, 12  # of fitting cells to interpolated chroma: where all samples are mixed, and where some are not
POLISH, BRIEF_POLISH = 8, 2  # times that cells of the former are gone through at most
SWEEPS = ((1, 6), (2, 6), (3, 4), (1, 3))  # how far cells are changed, and how often at most they are gone through

BAND = 48  # rows
Estimate = tuple[Plane, Plane, Bytes]


@dataclass(frozen=True)
class Cells:
    """Chroma planes int16 (h, w), and the how far pixels are from being reproduced with them, int16 (H, W)."""

    first: Plane
    second: Plane
    missing: Misses


def to_chroma(origin: Origin) -> NDArray[np.float64]:
    """From R, G, B and 1 to C1 and C2, nearly; float64 (2, 4)."""
    red, from_blue, from_red, blue = origin.offsets.astype(float)
    unit = float(1 << origin.shift)
    slope = [(table[255] - table[0]) / 255 / unit for table in (red, from_blue, from_red, blue)]
    luma = origin.luma / unit
    forward = np.array([[luma, 0, slope[0]], [luma, slope[1], slope[2]], [luma, slope[3], 0]])
    at = np.array([red[128], from_blue[128] + from_red[128], blue[128]]) / unit - 0.5
    inverse = np.linalg.inv(forward)[1:]
    return np.column_stack([inverse, 128 - inverse @ at])


def first_estimate(pixels: Bytes, origin: Origin, workers: int = 1) -> Estimate:
    """Chroma at every pixel of (H, W, 3), see `kernels.estimate`."""
    size = pixels.shape[:2]
    found = np.empty(size, np.int16), np.empty(size, np.int16), np.empty(size, np.uint8)
    inverse = to_chroma(origin)
    each(lambda part: kernels.estimate(pixels[part], inverse, *origin.forward, *(plane[part] for plane in found)), _bands(size[0]), workers)
    return found


def _places(sampling: Sampling) -> NDArray[np.int64]:
    """What `kernels.improve` calls reach."""
    rules = (sampling.rows, sampling.columns)
    reach = [place - phase for rule, phase in zip(rules, sampling.phase, strict=True) for place in REACH[rule]]
    return np.array([*reach, *(1 if rule == Rule.WHOLE else 2 for rule in rules)], np.int64)


def find_cells(
    pixels: Bytes, origin: Origin, sampling: Sampling, estimate: Estimate, sweeps: Sequence[tuple[int, int]], workers: int = 1,
    quick: bool = False,
) -> Cells:  # fmt: skip
    """The chroma cells of pixels (H, W, 3), given a first estimate. sweeps: as `SWEEPS`. quick: with fewer rounds before these."""
    size, rules = pixels.shape[:2], (sampling.rows, sampling.columns)
    (rows, columns), bias, up = sampling.axes(*size), sampling.bias, sampling.shift
    places = _places(sampling)
    rounds = ROUNDS if Rule.TRIANGLE in rules and not quick else FEW_ROUNDS
    polish = (BRIEF_POLISH if quick else POLISH if sweeps else 0) if Rule.TRIANGLE in rules else 0

    def fitted(found: Plane) -> Plane:
        """The cells of one plane, given that at every pixel."""
        plane = np.empty(sampling.cells(*size), np.int16)
        if rules == (Rule.WHOLE, Rule.WHOLE):
            plane[:] = found
            return plane
        kernels.fit_cells(found, estimate[2], plane, rows, columns, bias, up, rounds)
        for _ in range(polish):
            if not kernels.polish(found, estimate[2], plane, rows, columns, bias, up, places):
                break
        return plane

    first, second = each(fitted, estimate[:2], workers)
    return improve_cells(pixels, origin, sampling, first, second, sweeps, workers)


def improve_cells(
    pixels: Bytes, origin: Origin, sampling: Sampling, first: Plane, second: Plane, sweeps: Sequence[tuple[int, int]], workers: int = 1
) -> Cells:
    """Change chroma cells (h, w) in place where pixels (H, W, 3) are not reproduced with them. sweeps: as `SWEEPS`."""
    size, places = pixels.shape[:2], _places(sampling)
    (rows, columns), bias, up = sampling.axes(*size), sampling.bias, sampling.shift
    missing = np.empty(size, np.int16)

    def look(part: slice) -> None:
        kernels.misses(pixels[part], first, second, rows[part], columns, bias, up, *origin.forward, missing[part])

    each(look, _bands(size[0]), workers)
    bands, settled = _bands(len(first)), np.zeros(first.shape, np.uint8)
    for radius, times in sweeps:
        steps = kernels.around(radius)

        def change(part: slice, radius: int = radius, steps: NDArray[np.int64] = steps) -> Any:
            found = pixels, first, second, missing
            axes = rows, columns, bias
            at = part.start, part.stop, radius
            return kernels.improve(*at, settled, *found, *axes, up, *origin.forward, places, steps)

        for _ in range(times):
            if not missing.any():
                break
            if not sum(each(change, bands[::2], workers) + each(change, bands[1::2], workers)):  # neighbouring bands share pixels
                break
    return Cells(first, second, missing)


def _bands(rows: int) -> list[slice]:
    """Rows in bands that are worked on at once; what they are doesn't depend on how many workers there are."""
    return [slice(top, min(top + BAND, rows)) for top in range(0, rows, BAND)]
