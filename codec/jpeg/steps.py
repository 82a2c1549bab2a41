"""Quantisation steps that the transforms of samples show: they lie near multiples of the steps, as far as rounding of samples allows."""

import numpy as np
from numpy.typing import NDArray

from ...models.jpeg.units import ZIGZAG
from ..format import jpeg

Real = NDArray[np.float64]
Steps = NDArray[np.uint16]

NOISE = 0.3  # of a frequency, from rounding samples: a standard deviation; a little above the square root of 1/12
STRAY = 0.01  # share of transforms that may lie anywhere
ZERO = 1.5  # transforms below this may be noise alone
LARGEST = 255  # step that is looked for
CLEAR = 6.0  # by how many nats a step must explain what there is better than no step at all
GOOD, FAIR = 0.75, 0.3  # of what the best steps explain, the share that a scaled table must, and that a likely one must
UNEVEN, EVEN = 6, 3  # of luma and of chroma: between the least and the largest sample of a block that is looked at
OTHERS = 16  # steps of a table that may be others than the standard's
WEAK = 25.0  # evidence, in nats, that is not enough to doubt what is likely
MOST = 400  # blocks that are looked at

# ITU-T T.81, tables K.1 and K.2, which most encoders scale
LUMA: NDArray[np.int64] = np.empty(64, np.int64)
LUMA[list(ZIGZAG)] = jpeg.LUMA
LUMA = LUMA.reshape(8, 8)
CHROMA = np.full((8, 8), 99)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def _line() -> Real:
    place = np.arange(8)
    line: Real = np.cos((2 * place[None] + 1) * place[:, None] * np.pi / 16) / 2
    line[0] /= np.sqrt(2)
    return line


LINE = _line()
"""The cosine transform of eight samples: float64 (frequency, place), orthonormal."""
BASIS = np.ascontiguousarray(np.einsum("vy,ux->vuyx", LINE, LINE).reshape(64, 64))
"""That of blocks: float64 (64 frequencies, 64 places)."""


def transform(blocks: NDArray[np.int16]) -> Real:
    """Of samples (n, 8, 8), relative to 128: float64 (n, 64)."""
    result: Real = (blocks.reshape(-1, 64) - 128.0) @ BASIS.T
    return result


def standard(table: NDArray[np.int64], quality: int) -> Steps:
    """The steps that libjpeg makes of a table for a quality of 1 to 100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((table * scale + 50) // 100).clip(1, 255).astype(np.uint16)


def evidence(transforms: Real, largest: int = LARGEST) -> Real:
    """By how many nats each step explains transforms (n, 64) better than none: float64 (64, largest + 1); 0 for steps 0 and 1.

    Only what is no zero tells: where a frequency has nothing else, all steps are alike.
    """
    scores = np.zeros((64, largest + 1))
    values = np.abs(transforms.T).astype(np.float32)  # frequency after frequency
    telling = values > ZERO
    starts = np.concatenate([[0], telling.sum(1).cumsum()])
    values = values[telling]
    some = np.flatnonzero(np.diff(starts))
    if not len(some):
        return scores
    for step in range(2, largest + 1):
        rest = values - step * np.floor(values / step + 0.5)
        density = (step / (NOISE * np.sqrt(2 * np.pi))) * np.exp(-0.5 / NOISE**2 * rest * rest)
        scores[some, step] = np.add.reduceat(np.log((1 - STRAY) * density + STRAY), starts[some])
    return scores


def telling(blocks: NDArray[np.int16], most: int, uneven: int = UNEVEN) -> NDArray[np.int16]:
    """Of blocks (n, 8, 8) at most so many, from all over: those that are not flat, whose samples would all be rounded alike."""
    chosen = blocks[blocks.max((1, 2)) - blocks.min((1, 2)) >= uneven]
    some: NDArray[np.int16] = chosen[:: len(chosen) // most + 1]
    return some


def shown(scores: Real) -> float:
    """How clearly transforms show steps, in nats."""
    return float((scores.max(1) - CLEAR).clip(0).sum())


def find(scores: Real, likely: Steps | None = None) -> Steps | None:
    """The steps (8, 8) that the evidence shows, or None if it shows none.

    A scaled table of the standard, or that which is likely, is taken if it explains nearly as much as the best step of each frequency does.
    Otherwise it stands in where a frequency shows nothing.
    """
    best, scores = scores.max(1), scores.clip(-2 * CLEAR)  # few samples that are wrong should not decide
    tables = [standard(table, quality) for table in (LUMA, CHROMA) for quality in range(100, 0, -1)]
    if likely is not None:
        tables.insert(0, likely)
    sums = [scores[np.arange(64), table.reshape(64)].sum() for table in tables]
    if likely is not None and (sums[0] >= FAIR * best.sum() or shown(scores) < WEAK):
        return likely
    if shown(scores) < CLEAR:
        return None
    top = int(np.argmax(sums))
    if sums[top] >= GOOD * best.sum():
        return tables[top]
    return np.where(best > CLEAR, scores.argmax(1), tables[top].reshape(64)).reshape(8, 8).astype(np.uint16)


def partner(luma: Steps) -> Steps | None:
    """The steps of chroma that go with steps of luma, if these are the standard's, nearly all."""
    different = [int((luma != standard(LUMA, quality)).sum()) for quality in range(1, 101)]
    quality = int(np.argmin(different)) + 1
    return standard(CHROMA, quality) if different[quality - 1] <= OTHERS else None


def numbered(number: int) -> Steps | None:
    """The table that a number stands for in files: 1 to 100 that of luma for this quality, 101 to 200 that of chroma; None for others."""
    if not 1 <= number <= 200:
        return None
    return standard(LUMA if number <= 100 else CHROMA, (number - 1) % 100 + 1)


def number_of(table: Steps) -> int | None:
    """The inverse; None for tables that have no number."""
    tables = ((number, numbered(number)) for number in range(200, 0, -1))
    return next((number for number, steps in tables if steps is not None and np.array_equal(steps, table)), None)
