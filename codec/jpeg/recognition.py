"""Pixels that a JPEG decoder gave: the coefficients that they came from, found and proved by decoding.

From pixels to chroma and luma (`origins`), from their transforms to the steps of quantisation (`steps`), and to coefficients whose samples are
those that there are (`kernels.settle`). What is not met after all is kept beside the coefficients, pixel by pixel.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..origins import detection, exceptions
from ..origins import kernels as origin_kernels
from ..origins.inversion import SWEEPS, Estimate, find_cells, first_estimate, improve_cells
from ..origins.sampling import Rule, Sampling
from ..origins.table import BY_NUMBER
from . import kernels, pixels, steps
from .picture import Component, Picture

Bytes = NDArray[np.uint8]
Plane = NDArray[np.int16]
_JPEG = BY_NUMBER[2]
FACTORS = {Rule.WHOLE: 1, Rule.SAME: 2, Rule.TRIANGLE: 2}
EFFORT = 150  # steps of the search for the coefficients of a block
LEAST = 8  # pixels that a picture must have along each side
MOST_WRONG = 0.05  # share of pixels that may have to be corrected
SAMPLE, SHOWN = 56, 25.0  # blocks that are looked at first, and how clearly, in nats, they must show steps
REPAIRS = int(__import__('os').environ.get('REP','2'))
MOST_LOST = 0.1  # share of pixels that may not come from the chroma that is found
FEW = 64  # bytes of corrections with which no other sampling is tried
SAMPLINGS = tuple(
    Sampling(*rules)
    for rules in (
        (Rule.TRIANGLE, Rule.TRIANGLE), (Rule.WHOLE, Rule.WHOLE), (Rule.WHOLE, Rule.TRIANGLE), (Rule.TRIANGLE, Rule.WHOLE),
        (Rule.SAME, Rule.SAME), (Rule.WHOLE, Rule.SAME),
    )
)  # fmt: skip


@dataclass(frozen=True)
class Recognised:
    """smooth: whether chroma is interpolated, see `pixels.enlarged`. corrections: what turns what the picture shows into the pixels, see
    `origins.exceptions`; empty if nothing does."""

    picture: Picture
    smooth: bool
    corrections: bytes


@dataclass(frozen=True)
class Bounds:
    """Between which levels samples are, int16 (H, W), both included, and one of them to begin with, uint8 (H, W)."""

    low: Plane
    high: Plane
    start: Bytes


def restore(found: Recognised) -> Bytes:
    """The pixels, uint8 (H, W) or (H, W, 3). Raises DamagedFile."""
    shown = pixels.show(found.picture, found.smooth)
    if shown.ndim == 3:
        return exceptions.decode(found.corrections, shown)
    return exceptions.decode(found.corrections, np.stack([shown] * 3, -1))[..., 0]


def recognise(image: Bytes) -> Recognised | None:
    """What pixels, uint8 (H, W) or (H, W, 3), came from, or None if that was no JPEG picture."""
    image = np.array(image)
    if min(image.shape[:2]) < LEAST:
        return None
    if image.ndim == 2:
        bounds = _known(image.astype(np.int16))
        table = _steps(_sure_blocks(bounds))
        return _proved(image, (_settled(bounds, table, (1, 1)),), True) if table is not None else None
    detected = detection.detect(image)
    if not detected or detected[0].number != _JPEG.number:
        return None
    estimate = first_estimate(image, _JPEG)
    table = _steps(_luma_blocks(image, estimate))
    if table is None:
        return None
    best: Recognised | None = None
    for sampling in dict.fromkeys((detected[1], *SAMPLINGS)):
        if sampling in SAMPLINGS and (best is None or len(best.corrections) > FEW):
            found = _attempt(image, sampling, estimate, table)
            if found and (best is None or len(found.corrections) < len(best.corrections)):
                best = found
    return best


def _attempt(image: Bytes, sampling: Sampling, estimate: Estimate, luma_steps: steps.Steps) -> Recognised | None:
    """The same, if chroma was brought to the size of luma by a sampling."""
    chroma = _chroma(image, sampling, estimate)
    blocks = np.concatenate([_sure_blocks(bounds) for bounds in chroma])
    likely = steps.partner(luma_steps)
    table = steps.find(steps.evidence(steps.transform(steps.telling(blocks, steps.MOST, steps.EVEN))), likely)
    if table is None:
        return None
    factors = FACTORS[sampling.rows], FACTORS[sampling.columns]
    smooth = Rule.SAME not in (sampling.rows, sampling.columns)
    size = image.shape[0], image.shape[1]
    components = [_settled(bounds, table, (1, 1), factors == (1, 1)) for bounds in chroma]
    for _ in range(REPAIRS):
        cells = [pixels.plane(c)[: b.low.shape[0], : b.low.shape[1]].astype(np.int16) for c, b in zip(components, chroma, strict=True)]
        before = [plane.copy() for plane in cells]
        better = improve_cells(image, _JPEG, sampling, cells[0], cells[1], SWEEPS)
        if all(np.array_equal(a, b) for a, b in zip(before, cells, strict=True)):
            break
        chroma = [replace(b, start=plane.astype(np.uint8)) for b, plane in zip(chroma, (better.first, better.second), strict=True)]
        components = [_settled(bounds, table, (1, 1), factors == (1, 1)) for bounds in chroma]
    bounds, lost = _luma(image, *(pixels.enlarged(pixels.plane(c), factors, size, smooth) for c in components))
    if lost > MOST_LOST:
        return None
    return _proved(image, (_settled(bounds, luma_steps, factors), *components), smooth)


def _known(samples: Plane) -> Bounds:
    return Bounds(samples, samples, samples.astype(np.uint8))


def _luma_blocks(image: Bytes, estimate: Estimate) -> Plane:
    """Blocks (n, 8, 8) of luma, as far as single pixels say it."""
    bounds, _ = _luma(image, *(plane.astype(np.uint8) for plane in estimate[:2]))
    return _sure_blocks(Bounds(np.where(estimate[2] == 2, bounds.low, 0), bounds.high, bounds.start))


def _steps(blocks: Plane) -> steps.Steps | None:
    """The steps that blocks (n, 8, 8) of luma show, if they show any: a few are looked at first."""
    if steps.shown(steps.evidence(steps.transform(steps.telling(blocks, SAMPLE)))) < SHOWN:
        return None
    return steps.find(steps.evidence(steps.transform(steps.telling(blocks, steps.MOST))))


def _chroma(image: Bytes, sampling: Sampling, estimate: Estimate) -> list[Bounds]:
    """Of the cells of both chroma planes."""
    known = estimate[2] == 2
    if sampling.rows == sampling.columns == Rule.WHOLE:
        return [Bounds(np.where(known, plane, 0), np.where(known, plane, 255), plane.astype(np.uint8)) for plane in estimate[:2]]
    cells = find_cells(image, _JPEG, sampling, estimate, (), quick=True)
    factors = FACTORS[sampling.rows], FACTORS[sampling.columns]
    height, width = cells.first.shape
    edges = [(0, n * f - m) for n, f, m in zip((height, width), factors, known.shape, strict=True)]
    sure = np.pad(known, edges, mode="edge").reshape(height, factors[0], width, factors[1]).all((1, 3))
    return [Bounds(np.where(sure, plane, 0), np.where(sure, plane, 255), plane.astype(np.uint8)) for plane in (cells.first, cells.second)]


def _luma(image: Bytes, first: Bytes, second: Bytes) -> tuple[Bounds, float]:
    """Of luma, given chroma at every pixel; anything where no luma gives the pixel, and the share of such pixels."""
    low, high = np.empty(image.shape[:2], np.int16), np.empty(image.shape[:2], np.int16)
    origin_kernels.luma_bounds(image, first, second, *_JPEG.forward, low, high)
    none = low > high
    start = ((low + high) // 2).clip(0, 255).astype(np.uint8)
    return Bounds(np.where(none, 0, low), np.where(none, 255, high), start), float(none.mean())


def _settled(bounds: Bounds, table: steps.Steps, sampling: tuple[int, int], sure: bool = True) -> Component:
    """The coefficients of samples (H, W) that come from steps (8, 8).

    sure: whether the bounds are; otherwise a block for which nothing meets all of them has what rounding gives.
    """
    edges = [(0, -length % (8 * factor)) for length, factor in zip(bounds.low.shape, sampling, strict=True)]
    low = np.pad(bounds.low, edges)
    high = np.pad(bounds.high, edges, constant_values=255)
    start = np.pad(bounds.start, edges, mode="edge")
    shape = low.shape[0] // 8, low.shape[1] // 8
    coefficients, wrong = np.zeros((*shape, 8, 8), np.int16), np.zeros(shape, np.int64)
    kernels.settle(low, high, start, table.astype(np.int32), steps.BASIS, kernels.LINE, EFFORT, coefficients, wrong)
    if not sure and wrong.any():
        rounded = np.zeros_like(coefficients)
        kernels.settle(low, high, start, table.astype(np.int32), steps.BASIS, kernels.LINE, 0, rounded, np.zeros_like(wrong))
        coefficients[wrong > 0] = rounded[wrong > 0]
    return Component(sampling, table, coefficients)


def _sure_blocks(bounds: Bounds) -> Plane:
    """Whole blocks (n, 8, 8) whose samples are known."""
    rows, columns = bounds.low.shape[0] // 8, bounds.low.shape[1] // 8
    low, high = (p[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8) for p in (bounds.low, bounds.high))
    return low[(low == high).all((1, 2))]


def _proved(image: Bytes, components: tuple[Component, ...], smooth: bool) -> Recognised | None:
    """With what has to be corrected, unless it is much."""
    picture = Picture(image.shape[0], image.shape[1], components)
    shown = pixels.show(picture, smooth)
    wrong = shown != image
    if (wrong.any(-1) if image.ndim == 3 else wrong).mean() > MOST_WRONG:
        return None
    if image.ndim == 2:
        image, shown = (np.stack([levels] * 3, -1) for levels in (image, shown))
    return Recognised(picture, smooth, exceptions.encode(image, shown))
