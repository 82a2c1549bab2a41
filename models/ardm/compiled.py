"""The `ardm` network in compiled loops; `reference.py` is the same in torch."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..integer import IntLinear, Tensors
from ..kernels import convolutions, intervals, jit, products
from ..kernels.products import BLOCK, INPUTS, Packed, padded
from .stages import ArdmConfig, Int32, Int64

Int8 = NDArray[np.int8]


class CompiledNetwork:
    """Layers of a weights file for the kernels."""

    arithmetic = jit.ARITHMETIC

    def __init__(self, config: ArdmConfig, tensors: Tensors, layers: Mapping[str, IntLinear]) -> None:
        """Raises ValueError if products are not exact here."""
        products.check([layer.shape for layer in layers.values()])
        self.config, self._margin = config, max(1, *config.steps)
        self._layers = [Packed.of(layers["first"]), *(Packed.of(layers[f"blocks.{i}"]) for i in range(len(config.steps)))]
        self._head, self._out = Packed.of(layers["head"]), Packed.of(layers["out"])
        self._inverse, self._sigmoid, self._share = (tensors[f"tables.{name}"] for name in ("inverse", "sigmoid", "share"))

    def outputs(self, inputs: Int8, at: Int64) -> Int32:
        """Of places by their numbers (n), given the inputs of all (tiles, rows, columns, inputs); int32 (n, outputs)."""
        margin, c = self._margin, self.config
        tiles, rows, columns, _ = inputs.shape
        size = (tiles, rows + 2 * margin, columns + 2 * margin)
        inside = (slice(None), slice(margin, margin + rows), slice(margin, margin + columns))
        x = np.zeros((*size, c.inputs), np.int16)
        x[inside] = inputs
        maps = np.zeros((2, *size, c.width), np.int16)
        sums = np.empty((BLOCK, max(layer.width for layer in (*self._layers, self._head))), np.int32)
        for number, (layer, step) in enumerate(zip(self._layers, (1, *c.steps), strict=True)):
            gathered = np.zeros((BLOCK, padded(9 * x.shape[3], INPUTS)), np.int16)
            target = maps[number % 2]
            around = (x, margin, step, layer.weight, layer.bias, layer.shift, layer.skip, gathered, sums, target)
            convolutions.around(*around, products.multiply.address)
            x = target
        vectors = np.zeros((len(at), padded(c.width, INPUTS)), np.int16)
        vectors[:, : c.width] = x[inside].reshape(-1, c.width)[at]
        z = self._head.activations(vectors, np.empty((len(at), self._head.width), np.int16), sums)
        wide = np.ascontiguousarray(z[:, : padded(c.head, INPUTS)])
        return self._out.sums(wide, np.empty((len(at), self._out.width), np.int32))[:, : c.outputs]

    def weights(self, outputs: Int32, centres: Int32, low: Int32, step: int, entries: int) -> NDArray[np.float32]:
        """Weights (n, entries) of the values from `low` (n) on, `step` each, given parameters (n, 3 K) and centres (n)."""
        found = np.empty((len(low), entries), np.float32)
        below, tables = np.empty(entries + 1, np.int32), (self._inverse, self._sigmoid, self._share)
        intervals.weights(np.ascontiguousarray(outputs), centres, low, step, *tables, below, found)
        return found
