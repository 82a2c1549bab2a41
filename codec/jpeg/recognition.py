"""Whether a JPEG decoder gave pixels: from pixels to chroma and luma (`origins`), and from their transforms to the steps of
quantisation (`steps`). What then finds the coefficients is in `search.py`."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..origins import detection
from ..origins.inversion import first_estimate
from ..origins.sampling import Rule, Sampling
from . import steps
from .bounds import JPEG, MOST_WRONG, Bounds, Bytes, Offset, Plane, Recognised, luma_within, sure_blocks

LEAST = 8  # pixels that a picture must have along each side
SAMPLE, SMALL, SHOWN = 56, 30, 25.0  # blocks that are looked at first, for steps up to this, and how clearly, in nats, they must show them
FEW_WRONG = 0.01  # share of pixels that are corrected with which no other sampling is tried
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


def recognise(image: Bytes, workers: int = 1) -> Recognised | None:
    """What pixels, uint8 (H, W) or (H, W, 3), came from, or None if that was no JPEG picture. Gray pixels in RGB have a gray picture."""
    image = np.array(image)
    if min(image.shape[:2]) < LEAST:
        return None
    if image.ndim == 2 or (image == image[..., :1]).all():
        gray = image.reshape(*image.shape[:2], -1)[..., 0]
        bounds, offset, table = _grid(Bounds(gray.astype(np.int16), gray.astype(np.int16), gray), LARGE_GRAY)
        if table is None:
            return None
        from .search import proved, settled

        return proved(image, (settled(bounds, table, (1, 1), offset, workers),), True, offset)[0]
    likely = detection.likely(image)
    detected = detection.sampled(image, likely, workers) if JPEG in likely else None
    if not detected or detected[0] != JPEG:
        return None
    estimate = first_estimate(image, JPEG, workers)
    luma = luma_within(image, estimate[0].astype(np.uint8), estimate[1].astype(np.uint8))[0]
    _, offset, table = _grid(replace(luma, low=np.where(estimate[2] == 2, luma.low, 0)), LARGE)
    if table is None:
        return None
    from .search import attempt  # whose loops are compiled when they are first needed

    best: tuple[Recognised | None, float] = None, MOST_WRONG
    for sampling, further in _trials(detected[1]):
        found = attempt(image, sampling, estimate, table, (offset[0] + further[0], offset[1] + further[1]), workers)
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
    table = _steps(sure_blocks(bounds))
    if table is not None:
        return bounds, (0, 0), table
    part = bounds.start[:CORNER, :CORNER].astype(np.int32)
    likely = np.add.outer(_jumps(part), _jumps(part.T))
    places = [(int(i) // 8, int(i) % 8) for i in np.argsort(-likely, axis=None)]
    for offset in places[: len(places) if bounds.low.size >= large else FIRST]:
        moved = _moved(bounds, offset)
        table = _steps(sure_blocks(moved)) if offset != (0, 0) else None
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


def _steps(blocks: Plane) -> steps.Steps | None:
    """The steps that blocks (n, 8, 8) of luma show, if they show any: a few are looked at first."""
    some = steps.telling(blocks, SAMPLE)
    uneven = steps.UNEVEN if len(some) > SAMPLE // 4 else steps.EVEN
    some = some if uneven == steps.UNEVEN else steps.telling(blocks, SAMPLE, uneven)
    if steps.shown(steps.evidence(steps.transform(some), SMALL)) < SHOWN:
        return None
    return steps.find(steps.evidence(steps.transform(steps.telling(blocks, steps.MOST, uneven))))
