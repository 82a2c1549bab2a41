"""The `pixelcnn` network in exact integers.

What evaluates it over the pixels of many images is `compiled.py`, or in torch `reference.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import integer
from ..integer import IntLinear, Tensors
from ..kernels import jit
from ..model import Evaluator, Lossless, Size, Symbols
from ..tensors import read_settings
from ..units import CHANNELS
from .forecasts import LearnedForecasts, Seen
from .network import PixelCNNConfig
from .symbols import from_pixels, symbol_size, to_pixels, unfold

if TYPE_CHECKING:
    from .compiled import CompiledPixelCNN
    from .reference import ReferencePixelCNN


class ExactPixelCNN(Lossless):
    """The integer network, in compiled loops or in torch on one device."""

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        self.device = device
        self.tensors = arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        self.config = c = PixelCNNConfig(**read_settings(arrays))
        layers = integer.linear_layers(arrays)
        for name, layer in layers.items():
            if name.startswith(("up.", "left.")) and int(layer.shift[: c.width].min()) < 1:
                raise ValueError(f"layer {name} is not exact: a gated value may leave 32 bits")
        self.depth, self.slope = c.channels, c.slope
        self.levels = self.grey_levels = c.levels
        self.channels, self.colour = c.channels // c.patch**2, c.channels // c.patch**2 == CHANNELS
        self.relative = c.context == "relative"
        if c.qualities:
            at = len(c.first_taps()[1]) * c.seen
            first = layers["first"]
            self._condition = first.weight[:, at : at + c.own].astype(np.int32)
            layers["first"] = IntLinear(np.concatenate([first.weight[:, :at], first.weight[:, at + c.own :]], 1), first.bias, first.shift)
        self.network: CompiledPixelCNN | ReferencePixelCNN
        if device == "cpu" and jit.wanted(arithmetic):
            from .compiled import CompiledPixelCNN

            self.network = CompiledPixelCNN(c, arrays, layers)
        else:
            from .reference import ReferencePixelCNN

            self.network = ReferencePixelCNN(c, arrays, layers, arithmetic, device)

    def to_symbols(self, tile: Symbols) -> Symbols:
        return from_pixels(tile, self.config)

    def from_symbols(self, symbols: Symbols, height: int, width: int) -> Symbols:
        return to_pixels(symbols, self.config, height, width)

    def to_map(self, values: NDArray[Any]) -> NDArray[Any]:
        return unfold(values, self.config.patch)

    def places(self, height: int, width: int) -> Size:
        return symbol_size(height, width, self.config)

    def order(self, height: int, width: int) -> NDArray[np.int64]:
        return np.asarray(self.config.order(height, width).numpy())

    def steps(self, height: int, width: int) -> NDArray[np.int64]:
        return np.asarray(self.config.steps(height, width).numpy())

    def evaluator(self, sizes: Sequence[Size]) -> Evaluator:
        return self.network.evaluator(sizes)

    def forecasts(self, kind: str, evaluator: Seen) -> LearnedForecasts:
        return LearnedForecasts(self.config, self.tensors, evaluator, kind)

    def at_quality(self, quality: int) -> ExactPixelCNN:
        """The network under a condition, which is the same for all pixels, so that it only adds to the biases of a layer."""
        model = copy(self)
        model.network = self.network.biased((self._condition * self.tensors["conditions"][quality]).sum(1, dtype=np.int32))
        return model
