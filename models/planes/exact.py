"""The `planes` network in exact integers: its walk along the wavefront of many tiles at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..integer import Tensors, linear_layers
from ..kernels import jit
from ..model import Code, Known, Lossless, Symbols, Turn, Way
from ..photo.front import Front
from ..units import SLOPE

if TYPE_CHECKING:
    from .compiled import CompiledPlanes
    from .reference import ReferencePlanes


class ExactPlanes(Lossless):
    """The integer network, in compiled loops or in torch. Symbols are the levels of the plane that is coded."""

    coding: Way = "planes"
    tile = 128
    batch = 48
    channels = depth = 1

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        layers = linear_layers(arrays)
        self.network: CompiledPlanes | ReferencePlanes
        if device == "cpu" and jit.wanted(arithmetic):
            from .compiled import CompiledPlanes

            self.network = CompiledPlanes(arrays, layers)
        else:
            from .reference import ReferencePlanes

            self.network = ReferencePlanes(arrays, layers, arithmetic, device)

    def front(self, sides: Sequence[Symbols]) -> Front:
        """For tiles with these side planes, uint8 (h, w, 2) each."""
        return self.network.front(sides)

    def predictor(self, quality: int) -> None:
        """Nothing: the network is evaluated along the wavefront only."""

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        """The code that answers with the levels of tiles (h, w, 1) of the plane."""
        return Known(tiles)

    def walk(self, sides: Sequence[Symbols], code: Code) -> list[Symbols]:
        """Tiles (h, w, 1) of the plane, given those (h, w, 2) of the side planes. Symbols in the order (step, half, row)."""
        front = self.front(sides)
        plane = np.zeros((front.tiles, front.height, front.width, 1), np.uint8)
        start = np.arange(front.tiles)[:, None] * front.height * front.width
        for step in range(front.steps):
            if not front.start(step):
                continue
            rows = np.arange(front.low, front.low + front.rows)
            columns = step - SLOPE * rows
            at, share = (start + rows * front.width + columns).ravel(), (step + 1) / front.steps
            front.begin(0)
            high = code(Turn(0, 0, at, front.bounds, share), front.weights())
            low = code(Turn(0, 1, at, front.bounds, share), front.weights(high))
            symbols = (high * 16 + low).astype(np.uint8)
            front.put(0, symbols)
            plane[:, rows, columns, 0] = symbols.reshape(front.tiles, -1)
            front.finish()
        return [tile[: side.shape[0], : side.shape[1]] for tile, side in zip(plane, sides, strict=True)]
