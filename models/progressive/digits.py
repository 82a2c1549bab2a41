"""The integer network of `progressive`: the weights of all digits of a round, and their order.

Products are by whichever back end is exact and fastest here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import back_ends, units
from ..back_ends import Prepared
from ..integer import LARGEST, IntLinear, Tensors, linear_layers
from ..units import LOGIT_UNIT, REACH, SIGMOID_BITS
from .rounds import DIGITS, LINEAR_BITS, PARTS, STEPS, Int16, Int64, ProgressiveConfig, Round, places_of

STRIP = 4096  # places that are worked on together, more or less
TOLD = 1 << 5  # what the input of the round is in integers
ONE = 1 << SIGMOID_BITS
NEW_BITS, SIGN_BITS = (
    6,
    10,
)  # the weights of a digit that is 0 are 2^NEW_BITS of the chance, those of signs the product of two without SIGN_BITS
DEEPEST = REACH * LOGIT_UNIT - 1
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]


class DigitNetwork:
    """Layers of a weights file, ready for one back end on a device."""

    def __init__(self, config: ProgressiveConfig, arrays: Tensors, arithmetic: str | None, device: str) -> None:
        """Raises ValueError if a layer, or every product here, is not exact."""
        self.config, self.rounds = config, config.rounds()
        layers = linear_layers(arrays)
        self.device = torch.device(device)
        seen = 9 * 2 * config.channels
        first = layers.pop("first")
        told = first.weight[:, seen:].astype(np.int32) * TOLD
        self._told = [torch.from_numpy(first.bias + told[:, number]).to(self.device) for number in range(len(self.rounds))]
        layers["first"] = IntLinear(np.ascontiguousarray(first.weight[:, :seen]), first.bias, first.shift)
        self._back_end = back_ends.choose(arithmetic, [layer.shape for layer in layers.values()], self.device)
        self.arithmetic = self._back_end.name
        self._layers = {name: Prepared.of(layer, self._back_end, self.device) for name, layer in layers.items()}
        self._bases = np.asarray(arrays["bases"])
        self._compand = np.asarray(arrays["tables.compand"])
        self._sigmoid = np.asarray(arrays["tables.sigmoid"]).clip(1, ONE - 1).astype(np.int32)

    def weights(self, number: int, middles: Int16, magnitudes: Int16) -> tuple[NDArray[np.float32], Int64]:
        """Weights (n, 3) of the digits of a round in their order, and of which latents they are: place x channels + channel.

        middles: twice those of all latents (h, w, channels); magnitudes: their bits so far.
        """
        one = self.rounds[number]
        height, width = middles.shape[:2]
        at = places_of(one.places, height, width)
        channels = np.array(one.channels)
        seen = self._companded(middles, one.plane)
        logits = np.empty((len(at), len(channels), PARTS), np.int32)
        inner = np.empty((height, width, self.config.narrow), np.int8)
        first = np.empty((height, width, self.config.width), np.int8)
        for rows in _strips(height, width):
            first[rows] = self._activations("first", around(seen, rows), self._told[number]).reshape(-1, width, self.config.width)
            inner[rows] = self._activations("narrow", first[rows].reshape(-1, self.config.width)).reshape(-1, width, self.config.narrow)
        own = middles[..., channels]
        size = seen[..., self.config.channels + channels]
        for rows in _strips(height, width):
            vectors = self._activations("second", np.concatenate([around(inner, rows), first[rows].reshape(-1, self.config.width)], 1))
            chosen = slice(*np.searchsorted(at, [rows.start * width, rows.stop * width]))
            inside = at[chosen] - rows.start * width
            vectors = vectors[inside]
            local = self._local(own, size, rows, one)[inside]
            for i, channel in enumerate(one.channels):
                z = self._activations(f"heads.{channel}", np.concatenate([vectors, local[:, :, i]], 1))
                logits[chosen, i] = self._sums(f"outs.{channel}", z) + self._bases[number, channel]
        known = magnitudes.reshape(height * width, -1)[at][:, channels] > 0
        return self._ordered(logits.reshape(-1, PARTS), known.ravel(), np.add.outer(at * self.config.channels, channels).ravel())

    def _ordered(self, logits: Int32, known: NDArray[np.bool_], at: Int64) -> tuple[NDArray[np.float32], Int64]:
        """Weights of digits with these logits, the most promising first."""
        late = np.where(known, self.config.late, logits[:, 0].clip(-DEEPEST, DEEPEST))
        order = np.argsort(-late.astype(np.int16), kind="stable")
        logits, known = logits[order], known[order]
        entries = logits.clip(-DEEPEST - 1, DEEPEST) * (units.STEPS // LOGIT_UNIT) + REACH * units.STEPS
        some, plus, bit = self._sigmoid[entries].T
        weights = np.empty((len(order), DIGITS), np.float32)
        weights[:, 0] = np.where(known, ONE - bit, ONE - some << NEW_BITS)
        weights[:, 1] = np.where(known, bit, (some.astype(np.int64) * plus) >> SIGN_BITS)
        weights[:, 2] = np.where(known, 0, (some.astype(np.int64) * (ONE - plus)) >> SIGN_BITS)
        return weights, at[order]

    def _companded(self, middles: Int16, plane: int) -> Int8:
        """Inputs of the trunk (h, w, 2 channels): with signs, and without."""
        size = self._compand[plane][np.abs(middles)]
        return np.concatenate([np.where(middles < 0, -size, size), size], -1)

    @staticmethod
    def _local(own: Int16, size: Int8, rows: slice, one: Round) -> Int8:
        """Inputs of heads (n, LOCAL, channels of the round): where middles around are, seen from a place's own if that is not 0."""
        near, far = (around(part, rows, STEPS[one.places]).reshape(-1, 9, part.shape[-1]) for part in (own, size))
        middle = near[:, 4:5].copy()
        near = np.where(middle == 0, near, np.sign(middle) * (near - middle))
        near[:, 4:5] = middle
        linear = np.sign(near) * np.minimum(np.abs(near.astype(np.int32)) << LINEAR_BITS >> one.plane, LARGEST)
        return np.concatenate([linear.astype(np.int8), far[:, [0, 1, 2, 3, 5, 6, 7, 8]]], 1)

    def _sums(self, name: str, x: Int8, bias: torch.Tensor | None = None) -> Int32:
        """(W x + b) >> shift of (n, inputs)."""
        layer = self._layers[name]
        rows = torch.from_numpy(np.ascontiguousarray(x)).to(self.device)
        found: Int32 = layer.sums(self._back_end, rows, bias=bias).cpu().numpy()
        return found

    def _activations(self, name: str, x: Int8, bias: torch.Tensor | None = None) -> Int8:
        return self._sums(name, x, bias).clip(0, LARGEST).astype(np.int8)


def around(x: NDArray[Any], rows: slice, step: int = 1) -> NDArray[Any]:
    """What the 3 x 3 places around those of some rows of a map (h, w, n) have, row by row; 0 outside. (places, 9 n).

    step: how many rows and columns they are away.
    """
    height, width = x.shape[:2]
    top, bottom = max(0, rows.start - step), min(height, rows.stop + step)
    wide = np.pad(x[top:bottom], ((top - rows.start + step, rows.stop + step - bottom), (step, step), (0, 0)))
    count, near = rows.stop - rows.start, (0, step, 2 * step)
    return np.concatenate([wide[dy : dy + count, dx : dx + width] for dy in near for dx in near], -1).reshape(count * width, -1)


def _strips(height: int, width: int) -> Sequence[slice]:
    rows = max(1, STRIP // width)
    return [slice(first, min(height, first + rows)) for first in range(0, height, rows)]
