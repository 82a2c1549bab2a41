"""The coefficients behind pixels that a JPEG decoder gave: found and proved by decoding.

Their samples are those that there are (`kernels.settle`). What is not met after all is kept beside the coefficients, pixel by pixel.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..origins import exceptions
from ..origins.inversion import SWEEPS, Estimate, find_cells, improve_cells
from ..origins.sampling import Rule, Sampling
from ..parallel import each
from . import kernels, pixels, steps
from .bounds import JPEG, MOST_WRONG, Bounds, Bytes, Offset, Recognised, luma_within, sure_blocks
from .edges import continued as edges_continued
from .picture import Component, Picture

FACTORS = {Rule.WHOLE: 1, Rule.SAME: 2, Rule.TRIANGLE: 2}
EFFORT = 150  # steps of the search for the coefficients of a block
REPAIRS = 2  # times that chroma cells are changed where pixels do not come from them, and rounded to coefficients again
MOST_LOST = 0.2  # share of pixels with no channel at its end that may not come from chroma whose coefficients are rounded
BAND = 8  # rows of blocks
VAGUE = 5  # frequency of interpolated chroma from which on cells are too uncertain to show steps


def restore(found: Recognised) -> Bytes:
    """The pixels, uint8 (H, W) of a gray picture or (H, W, 3). Raises DamagedFile."""
    shown = np.ascontiguousarray(pixels.show(found.picture, found.smooth)[found.offset[0] :, found.offset[1] :])
    if shown.ndim == 3:
        return exceptions.decode(found.corrections, shown)
    return exceptions.decode(found.corrections, np.stack([shown] * 3, -1))[..., 0]


def attempt(
    image: Bytes, sampling: Sampling, estimate: Estimate, luma_steps: steps.Steps, offset: Offset, workers: int
) -> tuple[Recognised | None, float]:
    """The same, if chroma was brought to the size of luma by a sampling, and the share of pixels that are corrected."""
    original, edges = image, [(length, 0) for length in offset]
    image = np.pad(image, [*edges, (0, 0)], mode="edge")
    estimate = np.pad(estimate[0], edges, mode="edge"), np.pad(estimate[1], edges, mode="edge"), np.pad(estimate[2], edges)
    chroma = _chroma(image, sampling, estimate, workers)
    blocks = np.concatenate([sure_blocks(bounds) for bounds in chroma])
    likely = steps.partner(luma_steps)
    factors = FACTORS[sampling.rows], FACTORS[sampling.columns]
    smooth = Rule.SAME not in (sampling.rows, sampling.columns)
    scores = steps.evidence(steps.transform(steps.telling(blocks, steps.MOST, steps.EVEN)))
    if smooth and factors != (1, 1):  # which says little of what changes from cell to cell
        scores.reshape(8, 8, -1)[VAGUE:] = scores.reshape(8, 8, -1)[:, VAGUE:] = 0
    table = steps.find(scores, likely)
    if table is None:
        return None, 1.0
    size = image.shape[0], image.shape[1]
    before = offset[0] // factors[0], offset[1] // factors[1]

    def luma(components: list[Component]) -> tuple[Bounds, NDArray[np.bool_]]:
        first, second = (pixels.enlarged(pixels.plane(c), factors, size, smooth) for c in components)
        return luma_within(image, first, second, offset)

    rounded = [settled(bounds, table, (1, 1), before, workers, 0) for bounds in chroma]
    if luma(rounded)[1][estimate[2] == 2].mean() > MOST_LOST:
        return None, 1.0

    def searched(chroma: list[Bounds]) -> list[Component]:
        """With a search where cells are sure; where they are not, it counts only if it meets all of them."""
        return [settled(bounds, table, (1, 1), before, workers, EFFORT, factors == (1, 1)) for bounds in chroma]

    components = searched(chroma)
    for _ in range(REPAIRS):
        cells = [pixels.plane(c)[: b.low.shape[0], : b.low.shape[1]].astype(np.int16) for c, b in zip(components, chroma, strict=True)]
        old = [plane.copy() for plane in cells]
        improve_cells(image, JPEG, sampling, cells[0], cells[1], SWEEPS, workers)
        if all(np.array_equal(a, b) for a, b in zip(old, cells, strict=True)):
            break
        chroma = [replace(bounds, start=plane.astype(np.uint8)) for bounds, plane in zip(chroma, cells, strict=True)]
        components = searched(chroma)
    settled_luma = settled(luma(components)[0], luma_steps, factors, offset, workers)
    return proved(original, (settled_luma, *components), smooth, offset)


def _chroma(image: Bytes, sampling: Sampling, estimate: Estimate, workers: int) -> list[Bounds]:
    """Of the cells of both chroma planes."""
    known = estimate[2] == 2
    if sampling.rows == sampling.columns == Rule.WHOLE:
        return [Bounds(np.where(known, plane, 0), np.where(known, plane, 255), plane.astype(np.uint8)) for plane in estimate[:2]]
    cells = find_cells(image, JPEG, sampling, estimate, (), workers, quick=True)
    factors = FACTORS[sampling.rows], FACTORS[sampling.columns]
    height, width = cells.first.shape
    edges = [(0, n * f - m) for n, f, m in zip((height, width), factors, known.shape, strict=True)]
    sure = np.pad(known, edges, mode="edge").reshape(height, factors[0], width, factors[1]).all((1, 3))
    return [Bounds(np.where(sure, plane, 0), np.where(sure, plane, 255), plane.astype(np.uint8)) for plane in (cells.first, cells.second)]


def settled(
    bounds: Bounds, table: steps.Steps, sampling: tuple[int, int], offset: Offset, workers: int, effort: int = EFFORT, sure: bool = True
) -> Component:
    """The coefficients of samples (H, W) that come from steps (8, 8). offset: rows and columns that are not known at all.

    sure: whether the bounds are; otherwise a block for which nothing meets all of them has what rounding gives.
    """
    edges = [(0, -length % (8 * factor)) for length, factor in zip(bounds.low.shape, sampling, strict=True)]
    low = np.pad(bounds.low, edges)
    high = np.pad(bounds.high, edges, constant_values=255)
    start = edges_continued(bounds.start, table, offset)
    start = np.pad(start, [(0, a - b) for a, b in zip(low.shape, start.shape, strict=True)], mode="edge")
    shape = low.shape[0] // 8, low.shape[1] // 8
    coefficients, wrong = np.zeros((*shape, 64), np.int16), np.zeros(shape, np.int64)
    divisors = table.astype(np.int32).reshape(64)

    def settle(top: int) -> None:
        part, rows = slice(top, top + BAND), slice(8 * top, 8 * (top + BAND))
        within = low[rows], high[rows], start[rows]
        kernels.settle(*within, divisors, steps.BASIS, kernels.LINE, effort, coefficients[part], wrong[part])
        if not sure and wrong[part].any():
            rounded = np.zeros_like(coefficients[part])
            kernels.settle(*within, divisors, steps.BASIS, kernels.LINE, 0, rounded, np.zeros_like(wrong[part]))
            coefficients[part][wrong[part] > 0] = rounded[wrong[part] > 0]

    each(settle, range(0, shape[0], BAND), workers)
    return Component(sampling, table, coefficients.reshape(*shape, 8, 8))


def proved(image: Bytes, components: tuple[Component, ...], smooth: bool, offset: Offset) -> tuple[Recognised | None, float]:
    """With what has to be corrected, unless it is much, and the share of pixels that are."""
    picture = Picture(image.shape[0] + offset[0], image.shape[1] + offset[1], components)
    shown = np.ascontiguousarray(pixels.show(picture, smooth)[offset[0] :, offset[1] :])
    if len(components) == 1:
        shown, image = (np.broadcast_to(levels.reshape(*levels.shape[:2], -1), (*levels.shape[:2], 3)) for levels in (shown, image))
    share = float((shown != image).any(-1).mean())
    if share > MOST_WRONG:
        return None, share
    return Recognised(picture, smooth, offset, exceptions.encode(image, shown)), share
