"""The `pixelcnn` network in exact integers: its layers, and which neighbours each of them sees.

What evaluates it over the pixels of many images is `evaluator.py`.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import back_ends, context, integer
from ..back_ends import Prepared
from ..frequencies import Categories, Distribution, DistributionTables, Mixtures, Quantiles
from ..integer import IntLinear, Tensors, joined
from ..model import Lossless, Size, Symbols
from ..tensors import on_device, read_settings
from ..units import CHANNELS, HINT_LIMIT
from .evaluator import Evaluator
from .forecasts import LearnedForecasts
from .network import GATE_LEVELS, PixelCNNConfig
from .symbols import from_pixels, symbol_size, to_pixels, unfold

STREAM_LIMIT = 32767  # of a residual stream


class ExactPixelCNN(Lossless):
    """The integer network: weights, tables and a back end on one device."""

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        self.device = torch.device(device)
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        self.tensors = on_device(arrays, self.device)
        self.config = c = PixelCNNConfig(**read_settings(arrays))
        layers = integer.linear_layers(arrays)
        for name, layer in layers.items():
            if name.startswith(("up.", "left.")) and int(layer.shift[: c.width].min()) < 1:
                raise ValueError(f"layer {name} is not exact: a gated value may leave 32 bits")
        self.width, self.depth, self.slope = c.width, c.channels, c.slope
        self.levels = self.grey_levels = c.levels
        self.channels, self.colour = c.channels // c.patch**2, c.channels // c.patch**2 == CHANNELS
        heads = [layers[f"heads.{i}"] for i in range(c.channels)]
        together = joined([IntLinear(h.weight[:, : c.width], h.bias, h.shift) for h in heads])
        if c.qualities:
            at = len(c.first_taps()[1]) * c.seen
            first = layers["first"]
            self._condition = torch.from_numpy(first.weight[:, at : at + c.own]).to(self.device).int()
            layers["first"] = IntLinear(np.concatenate([first.weight[:, :at], first.weight[:, at + c.own :]], 1), first.bias, first.shift)
        used = [together, *(layer for name, layer in layers.items() if not name.startswith("heads"))]
        self.back_end = back_ends.choose(arithmetic, [layer.shape for layer in used], self.device)
        self.layers = {name: self._prepare(layer) for name, layer in layers.items() if not name.startswith("heads")}
        self.head = self._prepare(together)
        self._gate = self.tensors["tables.gate"]
        self.up_bits, self.left_bits = arrays["up_bits"].tolist(), arrays["left_bits"].tolist()
        self.representation_bits = int(arrays["stream_bits"]) - self.left_bits[-1]
        self.relative = c.context == "relative"
        if self.relative:
            self.tables = context.Tables(self.tensors["tables.signed"], self.tensors["tables.error"])
        if c.output == "mixture":
            self._mixture = DistributionTables(*(self.tensors[f"tables.{name}"] for name in ("inverse", "sigmoid", "share")))
        self._told = [self._hint_table(heads, i) for i in range(c.channels - 1)]

    def to_symbols(self, tile: Symbols) -> Symbols:
        return from_pixels(tile, self.config)

    def from_symbols(self, symbols: Symbols, height: int, width: int) -> Symbols:
        return to_pixels(symbols, self.config, height, width)

    def to_map(self, values: NDArray[Any]) -> NDArray[Any]:
        return unfold(values, self.config.patch)

    def places(self, height: int, width: int) -> Size:
        return symbol_size(height, width, self.config)

    def order(self, height: int, width: int) -> Tensor:
        return self.config.order(height, width)

    def steps(self, height: int, width: int) -> Tensor:
        return self.config.steps(height, width)

    def evaluator(self, sizes: Sequence[Size]) -> Evaluator:
        return Evaluator(self, sizes)

    def forecasts(self, kind: str, evaluator: Evaluator) -> LearnedForecasts:
        return LearnedForecasts(evaluator, kind)

    def at_quality(self, quality: int) -> "ExactPixelCNN":
        """The network under a condition, which is the same for all pixels, so that it only adds to the biases of a layer."""
        added = (self._condition * self.tensors["conditions"][quality].int()).sum(1, dtype=torch.int32)
        network = copy(self)
        first = self.layers["first"]
        network.layers = self.layers | {"first": replace(first, bias=first.bias + added)}
        return network

    def _prepare(self, layer: IntLinear) -> Prepared:
        return Prepared.of(layer, self.back_end, self.device)

    def _hint_table(self, heads: Sequence[IntLinear], channel: int) -> Tensor:
        """What the symbol (or residual) of a channel adds to the sums of all later heads; int32 (values, later * head)."""
        if self.relative:
            residual = torch.arange(-HINT_LIMIT, HINT_LIMIT + 1, device=self.device)
            values = torch.stack([self.tables.of_signed(residual), (residual * 8).clamp(-127, 127)], dim=1)
        else:
            values = self.tensors["embedding"][channel]
        at = self.width + channel * values.shape[1]
        weight = torch.from_numpy(np.concatenate([head.weight[:, at : at + values.shape[1]] for head in heads[channel + 1 :]])).to(
            self.device
        )
        return (values.float() @ weight.float().t()).int()  # exact: a part of a sum that stays below 2^24

    def sums(self, x: Tensor, layer: Prepared) -> Tensor:
        """(W x + b) >> shift; int32 (n, outputs)."""
        return self.back_end.product(x, layer.weight).add_(layer.bias).bitwise_right_shift_(layer.shift)

    def gated(self, x: Tensor, layer: Prepared) -> Tensor:
        """a * sigmoid(b) of a layer's outputs (a, b); int32 (n, width)."""
        a, b = self.sums(x, layer).split(self.width, 1)
        gate = self._gate.index_select(0, (b.clamp(-128, 127) + 128).flatten()).view(b.shape)
        return (gate.mul_(a) + (1 << (GATE_LEVELS - 1))) >> GATE_LEVELS

    @staticmethod
    def stream(values: Tensor) -> Tensor:
        """Values of a residual stream, int16."""
        return values.clamp_(-STREAM_LIMIT, STREAM_LIMIT).to(torch.int16)

    @staticmethod
    def activation(stream: Tensor, bits: int) -> Tensor:
        """A residual stream on the grid -127..127 of its readers; int8."""
        return ((stream.int() + (1 << bits >> 1)) >> bits).clamp_(-127, 127).to(torch.int8)

    def head_sums(self, y: Tensor) -> Tensor:
        """The part of all heads' sums that the shared representation y, int8 (n, width), gives; int32 (n, channels * head)."""
        return self.back_end.product(y, self.head.weight).add_(self.head.bias)

    def tell(self, head_sums: Tensor, channel: int, values: Tensor) -> None:
        """Add what the symbols (or residuals) of a channel (n) say to the sums of all later heads, in place."""
        if channel < len(self._told):
            head_sums[:, (channel + 1) * self.config.head :].add_(self._told[channel].index_select(0, self._place(values)))

    def _place(self, values: Tensor) -> Tensor:
        return values.clamp(-HINT_LIMIT, HINT_LIMIT).int() + HINT_LIMIT if self.relative else values.int()

    def outputs(self, head_sums: Tensor, channel: int, earlier: Sequence[Tensor] = ()) -> Tensor:
        """Parameters of a channel's distributions, int32 (n, outputs).

        earlier: symbols (or residuals) of the channels before it, unless the sums have been told of them.
        """
        size = self.config.head
        part = slice(channel * size, (channel + 1) * size)
        sums = head_sums[:, part]
        for i, values in enumerate(earlier):
            told = self._told[i][:, (channel - 1 - i) * size : (channel - i) * size]
            sums = sums + told.index_select(0, self._place(values))
        z = (sums >> self.head.shift[part]).clamp_(0, 127).to(torch.int8)
        return self.sums(z, self.layers[f"outs.{channel}"])

    def quantiles(self, outputs: Tensor, centres: Tensor | int, precision: int) -> Quantiles:
        """The distributions; centres: int32 (n), or one for all, in 1/GREY grey levels, for mixtures."""
        if self.config.output == "categorical":
            return Categories(outputs, self.tensors["tables.category"], precision)
        return Mixtures(Distribution(outputs, centres, self._mixture), self.config.levels, precision)
