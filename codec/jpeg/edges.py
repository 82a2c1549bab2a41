"""What lies beyond the edge of a picture, in blocks that it cuts: encoders repeat the last samples, and quantise these as any other."""

import numpy as np
from numpy.typing import NDArray

from .steps import LINE, Real, Steps

MOVES = np.stack(np.meshgrid(*[[0, -1, 1]] * 8, indexing="ij"), -1).reshape(-1, 8)
"""How the coefficients of eight frequencies may differ from what repeated samples let expect, int64 (6561, 8)."""
UNLIKELY = 0.15  # what a difference counts, in squares of levels
AT_ONCE = 256  # blocks


def continued(samples: NDArray[np.uint8], steps: Steps, offset: tuple[int, int]) -> NDArray[np.uint8]:
    """A plane (H, W) in whole blocks (8 rows, 8 columns), whose new samples are as quantised blocks have them, nearly.

    offset: rows and columns at its beginning that are unknown, and so are new as well.
    """
    rows = _rows(samples, steps, offset[0])
    return np.ascontiguousarray(_rows(np.ascontiguousarray(rows.T), steps.T, offset[1]).T)


def _rows(samples: NDArray[np.uint8], steps: Steps, unknown: int) -> NDArray[np.uint8]:
    """The same for the lower and the upper edge alone."""
    known, lead = len(samples) % 8, unknown % 8
    whole = np.pad(samples, [(0, -len(samples) % 8), (0, 0)], mode="edge")
    if known:
        whole[-8:] = _below(whole[-8 : len(samples)], steps)
    if lead:
        top = unknown - lead
        whole[top : top + 8] = _below(whole[unknown : top + 8][::-1], steps)[::-1]
    whole[: unknown - lead] = whole[unknown - lead]
    return whole


def _below(samples: NDArray[np.uint8], steps: Steps) -> NDArray[np.uint8]:
    """Blocks (8, W) of which the upper samples are known.

    Across, the transform is known. Down, each of its frequencies has eight coefficients and fewer samples: the nearest ones are taken.
    """
    known, width = samples.shape
    whole = np.pad(samples, [(0, 8 - known), (0, -width % 8)], mode="edge")
    blocks = whole.reshape(8, -1, 8).swapaxes(0, 1) - 128.0
    for start in range(0, len(blocks), AT_ONCE):
        some = blocks[start : start + AT_ONCE]
        across = some @ LINE.T
        units = steps * np.round((LINE @ across) / steps)
        missed = across[:, :known] - LINE.T[:known] @ units
        for u in range(8):
            units[:, :, u] += _nearest(missed[:, :, u], steps[:, u].astype(float), known)
        some[:, known:] = ((LINE.T @ units) @ LINE)[:, known:]
    whole[known:] = (np.round(blocks) + 128).clip(0, 255).swapaxes(0, 1).reshape(8, -1)[known:]
    return whole[:, :width]


def _nearest(missed: Real, steps: Real, known: int) -> Real:
    """What to add to eight frequencies, multiples of steps (8), that comes nearest to what is missed (n, known); float64 (n, 8)."""
    moves = MOVES * steps
    made = moves @ LINE[:, :known]
    costs = ((made**2).sum(1) + UNLIKELY * np.abs(MOVES).sum(1))[:, None] - 2 * made @ missed.T
    best: Real = moves[costs.argmin(0)]
    return best
