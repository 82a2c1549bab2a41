"""The wavefront of `planes` in compiled loops, most of which are those of `photo`."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..integer import IntLinear, Tensors
from ..kernels import jit, mixtures, products
from ..kernels import photo as kernels
from ..kernels import planes as sides_of
from ..kernels.photo import RING, TOP
from ..kernels.products import Packed
from ..model import Symbols
from ..photo.front import Front
from ..units import CHANNELS, ERROR_LIMIT, INPUTS, OUTSIDE, PREDICTIONS
from .units import AHEAD, KNOWN, SIDES, UNKNOWN


class CompiledPlanes:
    """The integer network for the kernels."""

    arithmetic = jit.ARITHMETIC

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear]) -> None:
        """Raises ValueError if products are not exact here."""
        products.check([layer.shape for layer in layers.values()])
        self.signed, self.error = tensors["tables.signed"], tensors["tables.error"]
        self.inverse, self.sigmoid, self.share = (tensors[f"tables.{name}"] for name in ("inverse", "sigmoid", "share"))
        self.trust = (1 << 24) // np.square(np.arange(ERROR_LIMIT + 1) + 2) + 1
        self.cell = [Packed.of(layers[f"cell.{i}"]) for i in range(2)]
        blocks = [layer for name, layer in layers.items() if name.startswith("blocks")]
        self.layers = [Packed.of(layer) for layer in (layers["trunk"], *blocks, layers["head"])]
        self.out = Packed.of(layers["out"])
        self.mixtures, self.hidden = self.out.outputs // 3, len(layers["cell.1"].bias)

    def front(self, sides: Sequence[Symbols]) -> "CompiledFront":
        return CompiledFront(self, sides)


class CompiledFront(Front):
    """The walk through a batch of tiles. State is kept in rings of the last few steps, see `kernels/photo.py`."""

    def __init__(self, network: CompiledPlanes, sides: Sequence[Symbols]) -> None:
        super().__init__([side.shape[:2] for side in sides])
        self.network = net = network
        cells = (RING, self.tiles, self.height + TOP)
        self._planes = np.full((*cells, CHANNELS), OUTSIDE, np.int16)
        self._errors = np.zeros((*cells, PREDICTIONS * CHANNELS), np.uint8)
        self._residuals = np.zeros((*cells, CHANNELS), np.int8)
        self._hidden = np.zeros((*cells, net.hidden), np.int16)
        self._rings = (self._planes, self._errors, self._residuals, self._hidden)
        self._sides = np.zeros((self.tiles, self.height, self.width, SIDES), np.int16)
        for i, side in enumerate(sides):
            self._sides[i, : side.shape[0], : side.shape[1]] = side.astype(np.int16) - UNKNOWN
        self._ahead = np.array(AHEAD, np.int64)
        self._first = INPUTS + 6 * net.hidden
        count, widest = self.tiles * self.height, max(layer.width for layer in (*net.layers, *net.cell))
        self._all_inputs = np.zeros((count, products.padded(self._first + KNOWN, 2)), np.int16)
        self._all_predictions = np.empty((count, PREDICTIONS * CHANNELS), np.int16)
        self._all_combined, self._all_values, self._all_away = np.empty((3, count, CHANNELS), np.int16)
        self._all_layers = [np.empty((count, layer.width), np.int16) for layer in net.layers]
        self._all_outputs, self._all_centres = np.empty((count, net.out.width), np.int32), np.empty(count, np.int32)
        self._all_weights = np.empty((count, 16), np.float32)
        self._all_cells = np.empty((count, products.padded(INPUTS + CHANNELS, 2)), np.int16)
        self._all_hidden = [np.empty((count, layer.width), np.int16) for layer in net.cell]
        self._zeros = np.zeros(count, np.int16)
        self._block, self._edges = np.empty((products.BLOCK, widest), np.int32), np.empty(mixtures.EDGES, np.int32)

    def advance(self) -> None:
        ring = self.step % RING
        self._planes[ring] = OUTSIDE
        for state in (self._errors, self._residuals, self._hidden):
            state[ring] = 0

    def look(self) -> None:
        net, n = self.network, self.count
        inputs, combined = self._all_inputs[:n], self._all_combined[:n]
        tables = (net.signed, net.error, net.trust)
        kernels.look(self.step, self.low, self.rows, *self._rings, *tables, inputs, self._all_predictions[:n], combined)
        known = (self._sizes, self._sides, self._ahead, net.signed, self._first)
        sides_of.tell(self.step, self.low, self.rows, *known, combined, inputs, self._all_values[:n], self._all_away[:n])
        y = inputs
        for layer, out in zip(net.layers, self._all_layers, strict=True):
            y = layer.activations(y, out[:n], self._block)
        net.out.sums(y, self._all_outputs[:n])

    def begin(self, channel: int) -> None:
        kernels.centre(self._all_combined[: self.count], 0, self._zeros, self._all_centres[: self.count])

    def weights(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        net, n = self.network, self.count
        weights: NDArray[np.float32] = self._all_weights[:n]
        above = np.empty(0, np.int32) if above is None else above
        tables = (net.inverse, net.sigmoid, net.share)
        mixtures.nibbles(self._all_outputs[:n], net.mixtures, self._all_centres[:n], above, *tables, self._edges, weights)
        return weights

    def put(self, channel: int, symbols: NDArray[np.uint8]) -> None:
        n = self.count
        self._zeros[:n] = 0
        kernels.put(0, self._all_combined[:n], symbols, self._zeros[:n], self._all_values[:n], self._all_away[:n])
        self._zeros[:n] = 0

    def finish(self) -> None:
        net, n = self.network, self.count
        cells = self._all_cells[:n]
        kernels.cell_input(self._all_inputs[:n], self._all_away[:n], net.signed, cells)
        hidden = cells
        for layer, out in zip(net.cell, self._all_hidden, strict=True):
            hidden = layer.activations(hidden, out[:n], self._block)
        at = (self.step, self.low, self.rows, self.bounds)
        kernels.remember(*at, self._all_values[:n], self._all_predictions[:n], cells, hidden, *self._rings)
