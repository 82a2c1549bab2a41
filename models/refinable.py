"""What a model offers whose latents can be moved for each picture before they are coded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .model import Features, Pixels, Symbols, Walkable, Window

Report = Callable[[float], None]
"""Is told the share of the work that is done, 0..1, and may end it by raising."""


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


class Refinable(Walkable, Protocol):
    """A model with `refines`."""

    def refine(self, pixels: Pixels, features: Features, quality: int, window: Window, effort: int, report: Report) -> Refined:
        """The latents of a window of pictures (B, H, W, 3) with the features (B, h, w, channels) of all their latents.

        effort: 2..9, more for better files and longer work.
        """
