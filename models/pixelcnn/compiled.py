"""The evaluator of `pixelcnn` in compiled loops."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import context, units
from ..integer import IntLinear, Tensors
from ..kernels import jit, products, relative, tiles
from ..kernels import pixelcnn as kernels
from ..kernels.products import Packed
from ..model import Size, Symbols
from .distributions import CompiledCategories, CompiledMixtures
from .grid import Grid, Rows
from .network import PixelCNNConfig

SCRATCH = products.BLOCK  # rows that go through a layer together


class _Layers:
    """Layers for the kernels: their weights, biases and shifts one after another, and a table that says where each begins."""

    def __init__(self, layers: Sequence[IntLinear]) -> None:
        packed = [Packed.of(layer) for layer in layers]
        self.weights = products.aligned(np.concatenate([p.weight.ravel() for p in packed]))
        self.biases, self.shifts = (np.concatenate([getattr(p, part) for p in packed]) for part in ("bias", "shift"))
        weights_at, self.biases_at = (np.cumsum([0, *sizes])[:-1] for sizes in ([p.weight.size for p in packed], [p.width for p in packed]))
        steps, width = (np.array(sizes) for sizes in ([p.weight.shape[1] for p in packed], [p.width for p in packed]))
        self.table = np.stack([weights_at, steps, width // tiles.COLUMNS, self.biases_at, width], 1)
        self.inputs = max(products.padded(layer.weight.shape[1], products.INPUTS) for layer in layers)
        self.outputs = max(p.width for p in packed)


class CompiledPixelCNN:
    """The integer network for the kernels."""

    arithmetic = jit.ARITHMETIC

    def __init__(self, config: PixelCNNConfig, tensors: Tensors, layers: Mapping[str, IntLinear]) -> None:
        """Raises ValueError if products are not exact here."""
        self.config = c = config
        self.relative = c.context == "relative"
        products.check([layer.shape for layer in layers.values()])
        ups = [layers["first_up"], *(layers[f"up.{i}"] for i in range(c.blocks))]
        lefts = [layers["first"], *(layers[f"left.{i}"] for i in range(c.blocks))]
        self.stacks = _Layers([layer for pair in zip(ups, lefts, strict=True) for layer in pair])
        self.heads = _Layers([layers[f"{kind}.{i}"] for i in range(c.channels) for kind in ("heads", "outs")])
        self.bits = np.stack([tensors["up_bits"], tensors["left_bits"]], 1).ravel().astype(np.int64)
        self.gate = tensors["tables.gate"]
        self.embedding = np.zeros((0, 0, 0), np.int8) if self.relative else tensors["embedding"]
        if self.relative:
            self.signed, self.error = tensors["tables.signed"], tensors["tables.error"]
            self.trust = (1 << 24) // np.square(np.arange(units.ERROR_LIMIT + 1) + 2) + 1
        if c.output == "mixture":
            self.tables = tuple(tensors[f"tables.{name}"] for name in ("inverse", "sigmoid", "share"))
        else:
            self.tables = (tensors["tables.category"],)

    def biased(self, added: NDArray[np.int32]) -> "CompiledPixelCNN":
        """The same with more in the biases of the up-left stack's first layer."""
        network = copy(self)
        network.stacks = copy(self.stacks)
        network.stacks.biases = self.stacks.biases.copy()
        network.stacks.biases[self.stacks.biases_at[1] :][: len(added)] += added
        return network

    def evaluator(self, sizes: Sequence[Size]) -> "CompiledEvaluator":
        return CompiledEvaluator(self, sizes)


@dataclass
class Heads:
    """What the heads see of pixels, (n, inputs), where their mixtures are centred, and of how many channels they have been told."""

    x: NDArray[np.int16]
    centres: NDArray[np.int32]
    told: int = 0


class CompiledEvaluator(Grid):
    """See `model.Evaluator`. Maps are tables in the order of evaluation, see `kernels/pixelcnn.py`."""

    def __init__(self, network: CompiledPixelCNN, sizes: Sequence[Size]) -> None:
        """sizes: height and width of every image."""
        self.network, c = network, network.config
        super().__init__(c, sizes)
        self._taps, self._bounds = _joined(self.taps)
        maps, rows = 2 * (c.blocks + 1), self.rows
        self._symbols = np.zeros((rows, c.channels), np.uint8)
        self._seen = np.zeros((rows, c.seen), np.int8)
        self._own = np.zeros((rows, units.INPUTS if network.relative else 0), np.int8)
        self.streams = np.zeros((maps, rows, c.width), np.int16)
        self.activations = np.zeros((maps, rows, c.width), np.int8)
        self._stale, self._heads = np.ones((maps, rows), np.uint8), np.ones(rows, np.uint8)
        self._x = np.empty((SCRATCH, network.stacks.inputs), np.int16)
        self._sums = np.empty((SCRATCH, max(network.stacks.outputs, network.heads.outputs)), np.int32)
        self._features = np.empty((SCRATCH, products.padded(c.head, tiles.COLUMNS)), np.int16)
        if network.relative:
            numbers = units.PREDICTIONS * units.CHANNELS
            self._planes = np.full((rows, 3), units.OUTSIDE, np.int16)
            past = [np.zeros((rows, numbers), np.int16) for _ in range(3)]
            self._combined, residuals = np.zeros((rows, 3), np.int16), np.zeros((rows, 3), np.int8)
            predictors = self.offsets([self.near[i] for i in context.PREDICTORS])
            kinds = [self.offsets(self.near), self.offsets(units.offsets(units.ERROR_BLOCK)), predictors, *self.taps[:2]]
            stale = np.ones((3, rows), np.uint8)
            tables: list[NDArray[Any]] = [self._planes, *past, self._combined, residuals, self._own, self._seen]
            self._context: list[NDArray[Any]] = [*tables, stale, self._stale, self._heads, *_joined(kinds), network.signed]

    def put(self, pixels: Rows, symbols: Symbols, watch: bool = True) -> None:
        net, symbols = self.network, np.ascontiguousarray(symbols)
        if net.relative:
            relative.put(pixels, symbols, net.config.step, watch, self._symbols, *self._context)
            return
        tables = (net.embedding, self._symbols, self._seen, self._stale, self._heads)
        kernels.put(pixels, symbols, watch, *tables, self._taps, self._bounds)

    def open(self, pixels: Rows) -> None:
        self._heads[pixels] = 1

    def evaluate(self, pixels: Rows, watch: bool = True) -> Rows:
        """`watch` False: none of them was evaluated before, and nothing that was evaluated sees them. That is for networks with a slope,
        whose pixels are asked for in coding order."""
        net, asked = self.network, pixels
        if not watch:  # a pixel may be asked for again, for another of its channels
            fresh = np.empty_like(pixels)
            pixels = fresh[: kernels.only(pixels, self._stale[-1], fresh)]
        # without a slope the up stack also sees to its right: what is above a whole row is known before the row is
        above = pixels if net.config.slope else self.whole_rows(pixels)
        due = np.empty(max(len(asked), len(above)), np.int64)
        if net.relative:
            relative.context(pixels, watch, due, net.trust, net.error, *self._context)
        tables = (self._seen, self._own, self.streams, self.activations, self._stale, self._heads, self._taps, self._bounds)
        s = net.stacks
        layers = (s.table, s.weights, s.biases, s.shifts, net.gate, net.bits)
        kernels.layers(pixels, above, watch, *tables, *layers, due, self._x, self._sums, products.multiply.address)
        return due[: kernels.take(asked, self._heads, watch, due)]

    def head_sums(self, pixels: Rows) -> Heads:
        x = np.zeros((len(pixels), self.network.heads.inputs), np.int16)
        kernels.representations(pixels, self.activations[-1], x)
        return Heads(x, np.full(len(pixels), self.network.config.zero * units.GREY, np.int32))

    def distribution(
        self, heads: Heads, pixels: Rows, channel: int, symbols: Symbols, precision: int
    ) -> CompiledCategories | CompiledMixtures:
        net, c = self.network, self.network.config
        if heads.told < channel:
            told, heads.told = heads.told, channel
            if net.relative:
                relative.tell(pixels, symbols, c.step, told, channel, self._combined, net.signed, c.width, heads.x)
            else:
                kernels.tell(symbols, told, channel, net.embedding, c.width, heads.x)
        h = net.heads
        outputs = np.empty((len(pixels), int(h.table[2 * channel + 1, kernels.OUTPUTS])), np.int32)
        layers = (h.table, h.weights, h.biases, h.shifts)
        kernels.outputs(heads.x, channel, *layers, self._features, self._sums, outputs, products.multiply.address)
        if c.output == "categorical":
            return CompiledCategories(outputs, net.tables, c.levels, precision)
        if net.relative:
            heads.centres = np.empty(len(pixels), np.int32)
            relative.centres(pixels, symbols, c.step, channel, self._combined, heads.centres)
        return CompiledMixtures(outputs, net.tables, c.levels, precision, heads.centres, c.mixtures)

    def symbols_at(self, pixels: Rows) -> NDArray[np.uint8]:
        return self._symbols[pixels]

    def seen_at(self, pixels: Rows) -> NDArray[np.int8]:
        return self._seen[pixels]

    def representations_at(self, pixels: Rows) -> NDArray[np.int8]:
        representations: NDArray[np.int8] = self.activations[-1][pixels]
        return representations


def _joined(kinds: Sequence[Rows]) -> tuple[Rows, Rows]:
    """Taps of some kinds one after another, and where each kind begins."""
    return np.concatenate(kinds), np.cumsum([0, *(len(kind) for kind in kinds)])
