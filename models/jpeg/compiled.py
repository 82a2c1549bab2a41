"""The integer network of `jpeg` in compiled loops."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..integer import IntLinear
from ..kernels import jit, products
from ..kernels import jpeg as kernels
from ..kernels.products import Packed
from . import trunk, units
from .features import BESIDE_MATRIX, OWN_MATRIX, Tables
from .symbols import Coded
from .units import EDGES, GROUPS, LAST_SEEN

if TYPE_CHECKING:
    from .exact import Field

Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Weights = NDArray[np.float32]
OWN, BESIDE = (np.ascontiguousarray(matrix.astype(np.int32)) for matrix in (OWN_MATRIX, BESIDE_MATRIX))
ALL = np.empty(0, np.uint8)


class CompiledForms:
    """Forms of components."""

    arithmetic = jit.ARITHMETIC

    def __init__(self, shapes: Iterable[tuple[int, ...]], tables: Tables, category: Int32) -> None:
        """Raises ValueError if products are not exact here."""
        products.check(shapes)
        self._tables = tables, category

    def form(self, layers: Mapping[str, IntLinear]) -> "CompiledForm":
        """The form of a component."""
        return CompiledForm(layers, *self._tables)


class CompiledForm:
    """See `exact.Form`."""

    def __init__(self, layers: Mapping[str, IntLinear], tables: Tables, category: Int32) -> None:
        self.layers = {name: Packed.of(layer) for name, layer in layers.items()}
        self.inputs = layers["trunk"].weight.shape[1]
        self.width = len(layers["trunk"].bias)
        self.tables, self.category = tables, category
        self._block = np.empty((products.BLOCK, max(layer.width for layer in self.layers.values())), np.int32)

    def _activations(self, name: str, x: Int16) -> Int16:
        layer = self.layers[name]
        return layer.activations(x, np.empty((len(x), layer.width), np.int16), self._block)

    def _sums(self, name: str, x: Int16) -> Int32:
        layer = self.layers[name]
        return layer.sums(x, np.empty((len(x), layer.width), np.int32))

    def _weights(self, sums: Int32, rows: Int64, firsts: Int64, count: int, none: NDArray[np.uint8] = ALL) -> Weights:
        out = np.empty((len(rows), 16), np.float32)
        kernels.weights(sums, rows, firsts, count, none, self.category, out)
        return out

    def _before(self, field: "Field", at: Int64, around: Int64) -> tuple[Int16, Int16, Int32]:
        n, t = len(at), self.tables
        x = np.zeros((n, products.padded(self.inputs, products.INPUTS)), np.int16)
        before, edges = np.empty((n, 64), np.int16), np.empty((n, 16), np.int32)
        which = np.zeros(n, np.int64)
        seen = field.values, field.means, field.steps, field.initial
        kernels.look(at, around, which, *seen, BESIDE, t.signed, t.mean, t.edge, x, before, edges)
        return x, before, edges

    def look(self, field: "Field", at: Int64, around: Int64) -> None:
        x, self._means, self._edges = self._before(field, at, around)
        self._field, self._at, self._around, self._end = field, at, around, 64
        if field.sides is not None:
            s, t = field.sides, self.tables
            beside = s.mean, s.signed, s.slopes, s.other
            kernels.look_beside(at, around, field.outside, *beside, t.signed, t.mean, units.OWN, x)
        self._hidden, self._z = trunk.through(self._activations, self.layers, x)

    def last_weights(self) -> Weights:
        every = np.arange(len(self._at))
        return self._weights(self._sums("last_out", self._z), every, np.zeros_like(every), 16)

    def low_weights(self, high: Int64) -> Weights:
        return self._weights(self._sums("low_out", self._z), np.arange(len(high)), high << units.LOW, 1 << units.LOW)

    def group(self, group: int, rows: Int64, last: Int64) -> Coded:
        (a, b), field, t = GROUPS[group], self._field, self.tables
        x = np.zeros((len(rows), products.padded(self.width + LAST_SEEN + EDGES + 2 * (64 - b), products.INPUTS)), np.int16)
        near = np.empty((len(rows), b - a), np.int32)
        which = np.zeros(len(self._at), np.int64)
        place = a, b, self._end, units.DIAGONALS[group]
        blocks = rows, self._at, self._around, which, field.values, field.steps
        kernels.tell(*place, *blocks, OWN, t.edge, field.outside, self.width + LAST_SEEN, self._edges, x, near)
        kernels.tell_known(rows, self._at, b, self.width, last, field.values, self._hidden, t.signed, EDGES, x)
        self._end, self._group = b, group
        self._z = self._activations(f"heads.{group}", x)
        row, entry = np.empty((2, near.size), np.int64)
        counted, none = np.empty(near.size, np.int32), np.empty(near.size, np.uint8)
        count = kernels.coded(rows, last, a, b, near, row, entry, counted, none)
        return Coded(row[:count], entry[:count], counted[:count], none[:count])

    def token_weights(self, rows: Int64, places: Int64, none: NDArray[np.uint8]) -> Weights:
        return self._weights(self._sums(f"outs.{self._group}", self._z), rows, places * 16, units.MORE + 1, none)

    def class_weights(self, rows: Int64, places: Int64) -> Weights:
        some, back = np.unique(rows, return_inverse=True)
        sums = self._sums(f"classes.{self._group}", np.ascontiguousarray(self._z[some]))
        return self._weights(sums, back.astype(np.int64), places * 16, 16)

    def remember(self) -> None:
        kernels.remember(self._at, self._means, self._field.values, self._field.means)

    def remember_at(self, field: "Field", at: Int64, around: Int64) -> None:
        """The same of blocks whose coefficients are known."""
        _, before, _ = self._before(field, at, around)
        kernels.remember(at, before, field.values, field.means)
