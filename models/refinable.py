"""What a model offers whose latents can be moved for each picture before they are coded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .model import Features, Pixels, Symbols, Walkable, Window

Report = Callable[[float], None]
"""Is told the share of the work that is done, 0..1, and may end it by raising."""


BOLD = 2.0  # how much more than one of them alone moves that are made together are taken to bend the error


@dataclass(frozen=True)
class Refined:
    """Latents (B, h, w, channels) that were moved for a picture, and what it would cost to move them further.

    bits: what each takes as one less, as it is, and as one more, (3, B, h, w, channels). slope: how fast the error grows with each, in bits
    that it is worth, (B, h, w, channels); curvature: how fast that grows, (channels). All float32.
    """

    symbols: Symbols
    bits: NDArray[np.float32]
    slope: NDArray[np.float32]
    curvature: NDArray[np.float32]

    def part(self, top: int, bottom: int, left: int, right: int) -> "Refined":
        """That of a window."""
        rows, columns = slice(top, bottom), slice(left, right)
        return Refined(self.symbols[:, rows, columns], self.bits[:, :, rows, columns], self.slope[:, rows, columns], self.curvature)


class Refinable(Walkable, Protocol):
    """A model with `refines`."""

    def refine(self, pixels: Pixels, features: Features, quality: int, window: Window, effort: int, report: Report) -> Refined:
        """The latents of a window of pictures (B, H, W, 3) with the features (B, h, w, channels) of all their latents.

        effort: 2..9, more for better files and longer work.
        """


def chosen(refined: Refined, weight: float, blank: int) -> Symbols:
    """The latents (B, h, w, channels): of each the integer at hand or one of its neighbours, where bits + weight * error is least; but
    whole channels of a picture `blank`, which take no bits, where that is less still."""
    symbols, bits, slope = refined.symbols, refined.bits, refined.slope
    bend = BOLD / 2 * refined.curvature
    least, move = bits[1].copy(), np.zeros(symbols.shape, np.int16)
    for step, cost in ((-1, bits[0]), (1, bits[2])):
        cost = cost + weight * (step * slope + bend)
        better = (cost < least) & (symbols + np.int16(step) >= 0) & (symbols + np.int16(step) < 256)
        least, move = np.where(better, cost, least), np.where(better, np.int16(step), move)
    away = (np.float32(blank) - symbols).astype(np.float32)
    without = weight * (away * slope + bend * np.square(away)).sum((1, 2), keepdims=True, dtype=np.float64)
    kept = least.sum((1, 2), keepdims=True, dtype=np.float64) < without
    return np.where(kept, symbols + move, blank).astype(np.uint8)
