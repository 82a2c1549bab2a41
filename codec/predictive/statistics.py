"""What decoding took, counted in calls of the model."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Statistics:
    """What decoding an image took.

    calls: passes of the model in which any of its pixels was evaluated; an ancestral decoder makes one for every symbol.
    heads: of how many pixels the distributions were evaluated, all calls together. mistakes, converged: for every symbol
    (pixels in coding order, their channels), how often it was among the first wrong guesses of a call (those of one wavefront
    step), and the call in which it took its final value.
    """

    symbols: int
    pixels: int
    calls: int = 0
    heads: int = 0
    mistakes: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    converged: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def share(self) -> float:
        """Calls as a share of the ancestral loop's."""
        return self.calls / self.symbols
