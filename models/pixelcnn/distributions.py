"""Distributions of symbols in compiled loops; the same in torch is in `frequencies.py`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import mixtures
from ..kernels import quantiles as kernels

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
EVERY = np.empty(0, np.int32)


class CompiledQuantiles(ABC):
    """See `model.Quantiles`."""

    def __init__(self, outputs: Int32, tables: Sequence[Int32], levels: int, precision: int) -> None:
        """outputs: of the network (n, at least its parameters). tables: of the weights file."""
        self.outputs, self.tables, self.levels, self.precision = outputs, tables, levels, precision

    @abstractmethod
    def below(self, symbols: Int64) -> Int64:
        """How many quantiles there are below symbols (n, m) in 0..levels."""

    @abstractmethod
    def find(self, quantiles: Int64) -> tuple[Int64, Int64, Int64]: ...

    def intervals(self, symbols: NDArray[Any]) -> tuple[Int64, Int64]:
        first = symbols.astype(np.int64)
        low, high = self.below(np.stack([first, first + 1], 1)).T
        return low, high - low

    def table(self) -> Int64:
        return np.diff(self.below(np.tile(np.arange(self.levels + 1), (len(self.outputs), 1))), axis=1)


class CompiledCategories(CompiledQuantiles):
    def below(self, symbols: Int64) -> Int64:
        out, scratch = np.empty(symbols.shape, np.int64), np.empty(self.levels + 1, np.int64)
        kernels.below_in_categories(self.outputs, self.tables[0], self.precision, symbols, scratch, out)
        return out

    def find(self, quantiles: Int64) -> tuple[Int64, Int64, Int64]:
        symbols, low, size = np.empty((3, len(quantiles)), np.int64)
        scratch = np.empty(self.levels + 1, np.int64)
        kernels.find_in_categories(self.outputs, self.tables[0], self.precision, quantiles, scratch, symbols, low, size)
        return symbols, low, size


class CompiledMixtures(CompiledQuantiles):
    def __init__(self, outputs: Int32, tables: Sequence[Int32], levels: int, precision: int, centres: Int32, components: int) -> None:
        """centres: (n), in 1/GREY grey levels."""
        super().__init__(outputs, tables, levels, precision)
        inverse, sigmoid, share = tables
        self._mixture, self._tables = (outputs, components, centres), (inverse, sigmoid, share)

    def below(self, symbols: Int64) -> Int64:
        out, scratch = np.empty(symbols.shape, np.int64), np.empty((3, self._mixture[1]), np.int64)
        kernels.below_in_mixtures(*self._mixture, *self._tables, self.levels, self.precision, symbols, scratch, out)
        return out

    def find(self, quantiles: Int64) -> tuple[Int64, Int64, Int64]:
        symbols, low, size = np.empty((3, len(quantiles)), np.int64)
        scratch = np.empty((3, self._mixture[1]), np.int64)
        kernels.find_in_mixtures(*self._mixture, *self._tables, self.levels, self.precision, quantiles, scratch, symbols, low, size)
        return symbols, low, size

    def nibbles(self, above: Int32 | None = None) -> NDArray[np.float32]:
        """Weights (n, 16) of the high nibbles of symbols of 256 levels, or of the low ones under the high nibbles `above` (n)."""
        weights, scratch = np.empty((len(self.outputs), 16), np.float32), np.empty(mixtures.EDGES, np.int32)
        mixtures.nibbles(*self._mixture, EVERY if above is None else above, *self._tables, scratch, weights)
        return weights
