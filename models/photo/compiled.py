"""The wavefront of `photo` in compiled loops."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..integer import IntLinear, Tensors, joined
from ..kernels import jit, mixtures, products
from ..kernels import photo as kernels
from ..kernels.photo import RING, TOP
from ..kernels.products import Packed
from ..model import Size
from ..units import CHANNELS, ERROR_LIMIT, HINT_LIMIT, HINTS, INPUTS, OUTSIDE, PREDICTIONS
from .front import Front


class CompiledPhoto:
    """The integer network for the kernels."""

    arithmetic = jit.ARITHMETIC

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear]) -> None:
        """Raises ValueError if products are not exact here."""
        products.check([layer.shape for layer in layers.values()])
        self.signed, self.error = tensors["tables.signed"], tensors["tables.error"]
        self.inverse, self.sigmoid, self.share = (tensors[f"tables.{name}"] for name in ("inverse", "sigmoid", "share"))
        self.trust = (1 << 24) // np.square(np.arange(ERROR_LIMIT + 1) + 2) + 1
        self.cell = [Packed.of(layers[f"cell.{i}"]) for i in range(2)]
        self.layers = [Packed.of(layers["trunk"]), *(Packed.of(layer) for name, layer in layers.items() if name.startswith("blocks"))]
        heads = [layers[f"heads.{c}"] for c in range(CHANNELS)]
        width = layers["trunk"].weight.shape[0]
        together = joined([IntLinear(np.ascontiguousarray(h.weight[:, :width]), h.bias, h.shift) for h in heads])
        self.shifts = together.shift
        self.heads = Packed.of(IntLinear(together.weight, together.bias, np.zeros_like(together.shift)))
        self.hints = [self._hint_tables(h.weight[:, width:]) for h in heads]
        self.outs = [Packed.of(layers[f"outs.{c}"]) for c in range(CHANNELS)]
        self.mixtures = self.outs[0].outputs // 3
        self.head, self.hidden = len(heads[0].bias), len(layers["cell.1"].bias)

    def _hint_tables(self, weight: NDArray[np.int8]) -> NDArray[np.int32]:
        """What a residual of each earlier channel adds to a head's sums; (earlier channels, 2 HINT_LIMIT + 1, head)."""
        residual = np.arange(-HINT_LIMIT, HINT_LIMIT + 1)
        middle = len(self.signed) // 2
        hint = np.stack([self.signed[middle + residual], (residual * 8).clip(-127, 127)], 1).astype(np.int32)
        parts = weight.astype(np.int32).reshape(len(weight), -1, HINTS).swapaxes(0, 1)
        return np.ascontiguousarray(hint @ parts.swapaxes(1, 2))

    def front(self, sizes: Sequence[Size]) -> "CompiledFront":
        return CompiledFront(self, sizes)


class CompiledFront(Front):
    """The walk through a batch of tiles. State is kept in rings of the last few steps, see `kernels/photo.py`."""

    def __init__(self, network: CompiledPhoto, sizes: Sequence[Size]) -> None:
        super().__init__(sizes)
        self.network = net = network
        cells = (RING, self.tiles, self.height + TOP)
        self._planes = np.full((*cells, CHANNELS), OUTSIDE, np.int16)
        self._errors = np.zeros((*cells, PREDICTIONS * CHANNELS), np.uint8)
        self._residuals = np.zeros((*cells, CHANNELS), np.int8)
        self._hidden = np.zeros((*cells, net.hidden), np.int16)
        self._rings = (self._planes, self._errors, self._residuals, self._hidden)
        self._every = _Step(net, self.tiles * self.height)

    def advance(self) -> None:
        ring = self.step % RING
        self._planes[ring] = OUTSIDE
        for state in (self._errors, self._residuals, self._hidden):
            state[ring] = 0

    def look(self) -> None:
        net = self.network
        self._now = now = self._every.first(self.count)
        tables = (net.signed, net.error, net.trust)
        kernels.look(self.step, self.low, self.rows, *self._rings, *tables, now.inputs, now.predictions, now.combined)
        y = now.inputs
        for i, layer in enumerate(net.layers):
            y = layer.activations(y, (now.even, now.odd)[i % 2], now.block)
        net.heads.sums(y, now.heads)
        now.green[:] = 0

    def begin(self, channel: int) -> None:
        net, now = self.network, self._now
        kernels.tell(now.heads, channel * net.head, channel, now.away, net.hints[channel], net.shifts, now.features)
        net.outs[channel].sums(now.features, now.outputs)
        kernels.centre(now.combined, channel, now.green, now.centres)

    def weights(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        net, now = self.network, self._now
        above = np.empty(0, np.int32) if above is None else above
        mixtures.nibbles(now.outputs, net.mixtures, now.centres, above, net.inverse, net.sigmoid, net.share, now.edges, now.weights)
        weights: NDArray[np.float32] = now.weights
        return weights

    def put(self, channel: int, symbols: NDArray[np.uint8]) -> None:
        now = self._now
        kernels.put(channel, now.combined, symbols, now.green, now.values, now.away)

    def finish(self) -> None:
        net, now = self.network, self._now
        kernels.cell_input(now.inputs, now.away, net.signed, now.cells)
        hidden = net.cell[1].activations(net.cell[0].activations(now.cells, now.inner, now.block), now.outer, now.block)
        kernels.remember(self.step, self.low, self.rows, self.bounds, now.values, now.predictions, now.cells, hidden, *self._rings)


class _Step:
    """What is known of the pixels of a step, an array each. Kept for all steps: fresh memory would cost as much as a product."""

    def __init__(self, net: CompiledPhoto, count: int) -> None:
        self.inputs = np.empty((count, products.padded(INPUTS + 6 * net.hidden, 2)), np.int16)
        self.predictions = np.empty((count, PREDICTIONS * CHANNELS), np.int16)
        self.combined, self.values, self.away = np.empty((3, count, CHANNELS), np.int16)
        self.even, self.odd = np.empty((2, count, net.layers[0].width), np.int16)
        self.heads = np.empty((count, net.heads.width), np.int32)
        self.features = np.empty((count, products.padded(net.head, 2)), np.int16)
        self.outputs = np.empty((count, net.outs[0].width), np.int32)
        self.centres, self.green = np.empty(count, np.int32), np.empty(count, np.int16)
        self.weights = np.empty((count, 16), np.float32)
        self.cells = np.empty((count, products.padded(INPUTS + CHANNELS, 2)), np.int16)
        self.inner, self.outer = (np.empty((count, layer.width), np.int16) for layer in net.cell)
        widest = max(layer.width for layer in (*net.layers, *net.cell))
        self.block = np.empty((products.BLOCK, widest), np.int32)
        self.edges = np.empty(mixtures.EDGES, np.int32)

    def first(self, count: int) -> Any:
        """The same of so many pixels."""
        fixed = {"block", "edges"}
        return SimpleNamespace(**{name: array if name in fixed else array[:count] for name, array in vars(self).items()})
