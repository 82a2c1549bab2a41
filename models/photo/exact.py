"""The `photo` network in exact integers: its walk along the wavefront of many tiles at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..integer import Tensors, linear_layers
from ..kernels import jit
from ..model import Code, Known, Lossless, Size, Span, Symbols, Turn, Way
from ..units import CHANNELS, SLOPE, TO_CODED
from .front import Front

if TYPE_CHECKING:
    from .compiled import CompiledPhoto
    from .reference import ReferencePhoto


class ExactPhoto(Lossless):
    """The integer network, in compiled loops or in torch. Symbols are G, R, B; of gray pictures only G is coded."""

    coding: Way = "tiles"
    tile = 128
    batch = 48

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        layers = linear_layers(arrays)
        self.network: CompiledPhoto | ReferencePhoto
        if device == "cpu" and jit.wanted(arithmetic):
            from .compiled import CompiledPhoto

            self.network = CompiledPhoto(arrays, layers)
        else:
            from .reference import ReferencePhoto

            self.network = ReferencePhoto(arrays, layers, arithmetic, device)

    def front(self, sizes: Sequence[Size]) -> Front:
        """For tiles of these sizes."""
        return self.network.front(sizes)

    def predictor(self, quality: int) -> None:
        """Nothing: the network is evaluated along the wavefront only."""

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        return Known([tile[..., TO_CODED] for tile in tiles])

    def spans(self, tiles: Sequence[Symbols]) -> list[Span]:
        gray = all((tile == tile[..., :1]).all() for tile in tiles)
        return [Span.FULL, *([Span.SAME if gray else Span.FULL] * (CHANNELS - 1))]

    def walk(self, sizes: Sequence[Size], spans: Sequence[Span], quality: int, code: Code, known: Known | None = None) -> list[Symbols]:
        """Symbols in the order (step, channel, half, row): for each step G, then R, then B, of each the high nibbles of all rows first."""
        front = self.front(sizes)
        pixels = np.empty((front.tiles, front.height, front.width, CHANNELS), np.uint8)
        start = np.arange(front.tiles)[:, None] * front.height * front.width
        symbols = np.empty(0, np.uint8)
        for step in range(front.steps):
            if not front.start(step):
                continue
            rows = np.arange(front.low, front.low + front.rows)
            columns = step - SLOPE * rows
            at, share = (start + rows * front.width + columns).ravel(), (step + 1) / front.steps
            for channel, span in enumerate(spans):
                if span != Span.SAME:
                    front.begin(channel)
                    high = code(Turn(channel, 0, at, front.bounds, share), front.weights()).astype(np.int32, copy=False)
                    low = code(Turn(channel, 1, at, front.bounds, share), front.weights(high))
                    symbols = (high * 16 + low).astype(np.uint8)
                front.put(channel, symbols)
                pixels[:, rows, columns, channel] = symbols.reshape(front.tiles, -1)
            front.finish()
        return [tile[:h, :w, TO_CODED] for tile, (h, w) in zip(pixels, sizes, strict=True)]
