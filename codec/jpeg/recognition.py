"""Pixels that a JPEG decoder gave: the coefficients that they came from, found and proved by decoding.

From pixels to chroma and luma (`origins`), from their transforms to the steps of quantisation (`steps`), and to coefficients whose
samples are those that there are (`kernels.settle`). What is not met after all is kept beside the coefficients, pixel by pixel.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..origins import detection, exceptions
from ..origins import kernels as origin_kernels
from ..origins.inversion import SWEEPS, Estimate, find_cells, first_estimate, improve_cells
from ..origins.sampling import Rule, Sampling
from ..origins.table import BY_NUMBER
from ..parallel import each
from . import kernels, pixels, steps
from .edges import continued as edges_continued
from .picture import Component, Picture

Bytes = NDArray[np.uint8]
Plane = NDArray[np.int16]
Offset = tuple[int, int]
_JPEG = BY_NUMBER[2]
FACTORS = {Rule.WHOLE: 1, Rule.SAME: 2, Rule.TRIANGLE: 2}
EFFORT = 150  # steps of the search for the coefficients of a block
LEAST = 8  # pixels that a picture must have along each side
MOST_WRONG = 0.05  # share of pixels that may have to be corrected
SAMPLE, SMALL, SHOWN = 56, 30, 25.0  # blocks that are looked at first, for steps up to this, and how clearly, in nats, they must show them
REPAIRS = 2  # times that chroma cells are changed where pixels do not come from them, and rounded to coefficients again
MOST_LOST = 0.2  # share of pixels with no channel at its end that may not come from chroma whose coefficients are rounded
FEW_WRONG = 0.01  # share of pixels that are corrected with which no other sampling is tried
BAND = 8  # rows of blocks
VAGUE = 5  # frequency of interpolated chroma from which on cells are too uncertain to show steps
CORNER = 512  # rows and columns that show where blocks begin
FIRST = 4  # places that are tried where pixels are few
LARGE, LARGE_GRAY = 1 << 18, 1 << 20  # pixels that are many, compared with what coding them takes
SAMPLINGS = tuple(
    Sampling(*rules)
    for rules in (
        (Rule.TRIANGLE, Rule.TRIANGLE), (Rule.WHOLE, Rule.WHOLE), (Rule.WHOLE, Rule.TRIANGLE), (Rule.TRIANGLE, Rule.WHOLE),
        (Rule.SAME, Rule.SAME), (Rule.WHOLE, Rule.SAME),
    )
)  # fmt: skip


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


def restore(found: Recognised) -> Bytes:
    """The pixels, uint8 (H, W) of a gray picture or (H, W, 3). Raises DamagedFile."""
    shown = np.ascontiguousarray(pixels.show(found.picture, found.smooth)[found.offset[0] :, found.offset[1] :])
    if shown.ndim == 3:
        return exceptions.decode(found.corrections, shown)
    return exceptions.decode(found.corrections, np.stack([shown] * 3, -1))[..., 0]


def recognise(image: Bytes, workers: int = 1) -> Recognised | None:
    """What pixels, uint8 (H, W) or (H, W, 3), came from, or None if that was no JPEG picture. Gray pixels in RGB have a gray picture."""
    image = np.array(image)
    if min(image.shape[:2]) < LEAST:
        return None
    if image.ndim == 2 or (image == image[..., :1]).all():
        gray = image.reshape(*image.shape[:2], -1)[..., 0]
        bounds, offset, table = _grid(Bounds(gray.astype(np.int16), gray.astype(np.int16), gray), LARGE_GRAY)
        return _proved(image, (_settled(bounds, table, (1, 1), offset, workers),), True, offset)[0] if table is not None else None
    detected = detection.detect(image, workers)
    if not detected or detected[0].number != _JPEG.number:
        return None
    estimate = first_estimate(image, _JPEG, workers)
    luma = _luma(image, estimate[0].astype(np.uint8), estimate[1].astype(np.uint8))[0]
    _, offset, table = _grid(replace(luma, low=np.where(estimate[2] == 2, luma.low, 0)), LARGE)
    if table is None:
        return None
    best: tuple[Recognised | None, float] = None, MOST_WRONG
    for sampling, further in _trials(detected[1]):
        found = _attempt(image, sampling, estimate, table, (offset[0] + further[0], offset[1] + further[1]), workers)
        best = min(best, found, key=lambda pair: pair[1])
        if best[1] < FEW_WRONG:
            break
    return best[0]


def _trials(likely: Sampling) -> list[tuple[Sampling, Offset]]:
    """Samplings that may be, and how much further a picture may begin before the pixels than blocks of luma say; likely ones first."""
    first = [s for s in SAMPLINGS if (s.rows, s.columns) == (likely.rows, likely.columns)]
    moved = [(s, (v, h)) for s in first for v in _further(s.rows) for h in _further(s.columns)]
    return moved + [(s, (0, 0)) for s in SAMPLINGS if s not in first]


def _further(rule: Rule) -> tuple[int, ...]:
    return (0,) if rule == Rule.WHOLE else (0, 8)


def _grid(bounds: Bounds, large: int) -> tuple[Bounds, Offset, steps.Steps | None]:
    """Samples (H, W) with unknown ones before them, so that blocks begin where they did; how many rows and columns; and the steps.

    large: pixels from which on all places are tried, and not only the likeliest.
    """
    table = _steps(_sure_blocks(bounds))
    if table is not None:
        return bounds, (0, 0), table
    part = bounds.start[:CORNER, :CORNER].astype(np.int32)
    likely = np.add.outer(_jumps(part), _jumps(part.T))
    places = [(int(i) // 8, int(i) % 8) for i in np.argsort(-likely, axis=None)]
    for offset in places[: len(places) if bounds.low.size >= large else FIRST]:
        moved = _moved(bounds, offset)
        table = _steps(_sure_blocks(moved)) if offset != (0, 0) else None
        if table is not None:
            return moved, offset, table
    return bounds, (0, 0), None


def _jumps(samples: NDArray[np.int32]) -> NDArray[np.float64]:
    """How little smooth the curve of columns of samples (H, W) is if blocks begin 0..7 rows before; float64 (8), relative to the mean."""
    jumps = np.abs(np.diff(samples, 3, axis=0)).sum(1)[: (len(samples) - 3) // 8 * 8].reshape(-1, 8).sum(0)
    found: NDArray[np.float64] = jumps[(-2 - np.arange(8)) % 8] / max(jumps.mean(), 1.0)
    return found


def _moved(bounds: Bounds, offset: Offset) -> Bounds:
    """With unknown samples above and left."""
    edges = [(length, 0) for length in offset]
    high = np.pad(bounds.high, edges, constant_values=255)
    return Bounds(np.pad(bounds.low, edges), high, np.pad(bounds.start, edges, mode="edge"))


def _attempt(
    image: Bytes, sampling: Sampling, estimate: Estimate, luma_steps: steps.Steps, offset: Offset, workers: int
) -> tuple[Recognised | None, float]:
    """The same, if chroma was brought to the size of luma by a sampling, and the share of pixels that are corrected."""
    original, edges = image, [(length, 0) for length in offset]
    image = np.pad(image, [*edges, (0, 0)], mode="edge")
    estimate = np.pad(estimate[0], edges, mode="edge"), np.pad(estimate[1], edges, mode="edge"), np.pad(estimate[2], edges)
    chroma = _chroma(image, sampling, estimate, workers)
    blocks = np.concatenate([_sure_blocks(bounds) for bounds in chroma])
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
        return _luma(image, first, second, offset)

    rounded = [_settled(bounds, table, (1, 1), before, workers, 0) for bounds in chroma]
    if luma(rounded)[1][estimate[2] == 2].mean() > MOST_LOST:
        return None, 1.0

    def settled(chroma: list[Bounds]) -> list[Component]:
        """With a search where cells are sure; where they are not, it counts only if it meets all of them."""
        return [_settled(bounds, table, (1, 1), before, workers, EFFORT, factors == (1, 1)) for bounds in chroma]

    components = settled(chroma)
    for _ in range(REPAIRS):
        cells = [pixels.plane(c)[: b.low.shape[0], : b.low.shape[1]].astype(np.int16) for c, b in zip(components, chroma, strict=True)]
        old = [plane.copy() for plane in cells]
        improve_cells(image, _JPEG, sampling, cells[0], cells[1], SWEEPS, workers)
        if all(np.array_equal(a, b) for a, b in zip(old, cells, strict=True)):
            break
        chroma = [replace(bounds, start=plane.astype(np.uint8)) for bounds, plane in zip(chroma, cells, strict=True)]
        components = settled(chroma)
    settled_luma = _settled(luma(components)[0], luma_steps, factors, offset, workers)
    return _proved(original, (settled_luma, *components), smooth, offset)


def _steps(blocks: Plane) -> steps.Steps | None:
    """The steps that blocks (n, 8, 8) of luma show, if they show any: a few are looked at first."""
    some = steps.telling(blocks, SAMPLE)
    uneven = steps.UNEVEN if len(some) > SAMPLE // 4 else steps.EVEN
    some = some if uneven == steps.UNEVEN else steps.telling(blocks, SAMPLE, uneven)
    if steps.shown(steps.evidence(steps.transform(some), SMALL)) < SHOWN:
        return None
    return steps.find(steps.evidence(steps.transform(steps.telling(blocks, steps.MOST, uneven))))


def _chroma(image: Bytes, sampling: Sampling, estimate: Estimate, workers: int) -> list[Bounds]:
    """Of the cells of both chroma planes."""
    known = estimate[2] == 2
    if sampling.rows == sampling.columns == Rule.WHOLE:
        return [Bounds(np.where(known, plane, 0), np.where(known, plane, 255), plane.astype(np.uint8)) for plane in estimate[:2]]
    cells = find_cells(image, _JPEG, sampling, estimate, (), workers, quick=True)
    factors = FACTORS[sampling.rows], FACTORS[sampling.columns]
    height, width = cells.first.shape
    edges = [(0, n * f - m) for n, f, m in zip((height, width), factors, known.shape, strict=True)]
    sure = np.pad(known, edges, mode="edge").reshape(height, factors[0], width, factors[1]).all((1, 3))
    return [Bounds(np.where(sure, plane, 0), np.where(sure, plane, 255), plane.astype(np.uint8)) for plane in (cells.first, cells.second)]


def _luma(image: Bytes, first: Bytes, second: Bytes, offset: Offset = (0, 0)) -> tuple[Bounds, NDArray[np.bool_]]:
    """Of luma, given chroma at every pixel; anything where no luma gives the pixel, and where that is so."""
    low, high = np.empty(image.shape[:2], np.int16), np.empty(image.shape[:2], np.int16)
    origin_kernels.luma_bounds(image, first, second, *_JPEG.forward, low, high)
    none = low > high
    none[: offset[0]], none[:, : offset[1]] = True, True
    start = ((low + high) // 2).clip(0, 255).astype(np.uint8)
    return Bounds(np.where(none, 0, low), np.where(none, 255, high), start), none


def _settled(
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


def _sure_blocks(bounds: Bounds) -> Plane:
    """Whole blocks (n, 8, 8) whose samples are known, and none at its end."""
    rows, columns = bounds.low.shape[0] // 8, bounds.low.shape[1] // 8
    low, high = (
        p[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8) for p in (bounds.low, bounds.high)
    )
    blocks: Plane = low[((low == high) & (low > 0) & (high < 255)).all((1, 2))]
    return blocks


def _proved(image: Bytes, components: tuple[Component, ...], smooth: bool, offset: Offset) -> tuple[Recognised | None, float]:
    """With what has to be corrected, unless it is much, and the share of pixels that are."""
    picture = Picture(image.shape[0] + offset[0], image.shape[1] + offset[1], components)
    shown = np.ascontiguousarray(pixels.show(picture, smooth)[offset[0] :, offset[1] :])
    if len(components) == 1:
        shown, image = (np.broadcast_to(levels.reshape(*levels.shape[:2], -1), (*levels.shape[:2], 3)) for levels in (shown, image))
    share = float((shown != image).any(-1).mean())
    if share > MOST_WRONG:
        return None, share
    return Recognised(picture, smooth, offset, exceptions.encode(image, shown)), share
