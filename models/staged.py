"""What a model offers that codes some bits of all values at a time, in as many calls as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .model import Code, Symbols, Tiled

Calls = int | NDArray[np.int64]
"""How many calls a stage takes, one of a model's budgets; or how many values are known after each call, ascending."""


class Staged(Tiled, Protocol):
    """A model of coding `stages`: pixels, the highest bits of all values first, in each stage call by call.

    stages: bits of a value that each codes. budgets: numbers of calls of a stage to choose from. batch: tiles that are walked through
    together.
    """

    stages: Sequence[int]
    budgets: Sequence[int]
    batch: int

    def answers(self, tiles: Sequence[Symbols]) -> Code:
        """The code that says the bits of tiles (height, width, channels) of pixels that are known."""

    def walk(
        self, tiles: Sequence[Symbols], stage: int, calls: Calls, code: Code, known: Sequence[NDArray[np.bool_]] | None = None
    ) -> tuple[list[Symbols], list[int]]:
        """Tiles with the bits of a stage, as `code` says, given tiles with those of earlier stages; and the calls that each took.

        Bits that are not there yet are 0. calls: see `Calls`. known: values of which the bits of the stage are there already; the code
        is not asked for them. Turns have a stream for every tile.
        """
