"""The integer network of `jpeg` in numpy and torch: the reference of the compiled loops, and what works where these are missing."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from .. import back_ends
from ..back_ends import BackEnd, Prepared
from ..integer import IntLinear
from . import features, trunk, units
from .features import Tables
from .symbols import Coded
from .units import GROUPS

if TYPE_CHECKING:
    from .exact import Field

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Weights = NDArray[np.float32]


class ReferenceForms:
    """Forms of components, whose products are by one back end."""

    def __init__(self, shapes: Iterable[tuple[int, ...]], tables: Tables, category: Int32, arithmetic: str | None, device: str) -> None:
        """Raises ValueError if no product is exact here."""
        self._device = torch.device(device)
        self._back_end = back_ends.choose(arithmetic, shapes, self._device)
        self._tables = tables, category
        self.arithmetic = self._back_end.name

    def form(self, layers: Mapping[str, IntLinear]) -> "ReferenceForm":
        """The form of a component."""
        return ReferenceForm(layers, *self._tables, self._back_end, self._device)


class ReferenceForm:
    """See `exact.Form`."""

    def __init__(self, layers: Mapping[str, IntLinear], tables: Tables, category: Int32, back_end: BackEnd, device: torch.device) -> None:
        """back_end: whose products are right for these layers."""
        self.device, self.back_end = device, back_end
        self.layers = {name: Prepared.of(layer, back_end, device) for name, layer in layers.items()}
        self.tables, self.category = tables, category

    def _sums(self, name: str, x: Int8) -> Int32:
        """(W x + b + (x << skip)) >> shift."""
        layer, inputs = self.layers[name], torch.from_numpy(np.ascontiguousarray(x)).to(self.device)
        result: Int32 = layer.sums(self.back_end, inputs, inputs).cpu().numpy()
        return result

    def _activations(self, name: str, x: Int8) -> Int8:
        activations: Int8 = self._sums(name, x).clip(0, 127).astype(np.int8)
        return activations

    def _weights(self, logits: Int32, allowed: NDArray[np.bool_]) -> Weights:
        """Weights (n, 16) of values with logits (n, 16), of which some are allowed; all others have 1."""
        largest = np.where(allowed, logits, -(1 << 30)).max(1, keepdims=True)
        found = self.category[(largest - logits).clip(0, len(self.category) - 1)]
        weights: Weights = np.where(allowed, np.maximum(found, 1), 1).astype(np.float32)
        return weights

    def _predictions(self) -> Int32:
        """From edges, in 1/8 step (n, 16); 0 where there is no neighbour."""
        there = np.repeat(self._there[:, [1, 0]], 8, axis=1)
        predictions: Int32 = features.in_steps(self._edges, self._field.steps[:, features.EDGE_PLACES]) * there
        return predictions

    def _begin(self, field: "Field", at: Int64, around: Int64) -> None:
        self._field, self._at, self._end = field, at, 64
        self._there = around != field.outside
        past = np.where(self._there[:, :4, None], field.means[around[:, :4]], field.initial)
        self._means = features.mean_before(past)

    def look(self, field: "Field", at: Int64, around: Int64) -> None:
        self._begin(field, at, around)
        near, there = field.values[around], self._there
        beside = [features.dequantised(near[:, i], field.steps).astype(np.int64) for i in (0, 1)]
        matrices = features.BESIDE_MATRIX.astype(np.int64)
        self._edges = (beside[0] @ matrices[0] + beside[1] @ matrices[1]).astype(np.int32)
        told = features.balanced(self._predictions(), there)
        x = features.own_inputs(near, there, self._means, told, self.tables)
        if field.sides is not None:
            s = field.sides
            here = features.Side(s.mean[at], s.signed[at], s.slopes[at], s.other[at])
            x = np.concatenate([x, features.side_inputs(here, self._dc_before(at, around), self.tables)], 1)
        self._hidden, self._z = trunk.through(self._activations, self.layers, x)

    def _dc_before(self, at: Int64, around: Int64) -> Int32:
        """The mean DC (n, 2) of the neighbours W and N, or of one of them, or that of the block, in the first and the second component."""
        there, sides = self._there, self._field.sides
        assert sides is not None
        west = np.where(there[:, 0], around[:, 0], np.where(there[:, 1], around[:, 1], at))
        north = np.where(there[:, 1], around[:, 1], west)
        parts = [(array[west, 0].astype(np.int32) + array[north, 0]) >> 1 for array in (sides.signed, sides.other)]
        return np.stack(parts, 1)

    def last_weights(self) -> Weights:
        return self._weights(self._sums("last_out", self._z), np.ones((len(self._at), 16), np.bool_))

    def low_weights(self, high: Int64) -> Weights:
        logits = np.zeros((len(high), 16), np.int32)
        logits[:, :4] = self._sums("low_out", self._z).reshape(-1, 16, 4)[np.arange(len(high)), high]
        return self._weights(logits, np.arange(16) < np.full((len(high), 1), 4))

    def group(self, group: int, rows: Int64, last: Int64) -> Coded:
        a, b = GROUPS[group]
        values = self._field.values[self._at]
        new = np.zeros_like(values)
        new[:, b : self._end] = values[:, b : self._end]
        self._edges = self._edges + (
            features.dequantised(new, self._field.steps).astype(np.int64) @ features.OWN_MATRIX.astype(np.int64)
        ).astype(np.int32)
        self._end, self._group = b, group
        edges, near = features.group_edges(self._predictions()[rows], self._there[rows], group, self.tables)
        known = self.tables.of_signed(values[rows, b:].astype(np.int32))
        x = np.concatenate([self._hidden[rows], features.last_inputs(last[rows]), edges, known, np.abs(known)], 1)
        self._z = self._activations(f"heads.{group}", x)
        final = last[rows][:, None]
        row, place = np.nonzero(np.arange(a, b) <= final)
        none = (np.arange(a, b) == final) & (final > 0) & (near == 0)
        return Coded(row, place, near[row, place], none[row, place].astype(np.uint8))

    def token_weights(self, rows: Int64, places: Int64, none: NDArray[np.uint8]) -> Weights:
        logits = self._sums(f"outs.{self._group}", self._z).reshape(len(self._z), -1, 16)[rows, places]
        allowed = np.tile(np.arange(16) <= units.MORE, (len(rows), 1))
        allowed[:, units.NEAR + 1] = none == 0
        return self._weights(logits, allowed)

    def class_weights(self, rows: Int64, places: Int64) -> Weights:
        logits = self._sums(f"classes.{self._group}", self._z[rows]).reshape(len(rows), -1, 16)[np.arange(len(rows)), places]
        return self._weights(logits, np.ones((len(rows), 16), np.bool_))

    def remember(self) -> None:
        self._field.means[self._at] = features.mean_after(self._means, self._field.values[self._at])

    def remember_at(self, field: "Field", at: Int64, around: Int64) -> None:
        """The same of blocks whose coefficients are known."""
        self._begin(field, at, around)
        self.remember()
