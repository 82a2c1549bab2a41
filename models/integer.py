"""Exact integer layers: what they are, and the proof that no sum of theirs can leave the range in which a product is exact.

A layer is y = (W x + b) >> shift with int8 W and x, int32 sums and a floor shift for every output: integer arithmetic throughout, so the
result is the same number on every machine. What differs between machines is only who multiplies: compiled loops (`kernels/products.py`), or
a product of torch (`back_ends.py`). Whoever it is must give the exact sums. That is proved when weights are loaded (`IntLinear.check`) and
tried on extreme values (`known_answers`), because a kernel's word is no proof.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Tensors = Mapping[str, NDArray[Any]]
"""The arrays of a weights file by their names."""

LARGEST = 127  # magnitude of weights and activations
SUM_BITS = 24  # every sum is below 2^24, so float32 holds it exactly
MOST = ((1 << SUM_BITS) - 1) // LARGEST  # absolute weights of an output that passes `IntLinear.check`, summed up


class Shape(NamedTuple):
    """A product in use: x (n, inputs) times weights (outputs, inputs) whose absolute values sum to at most `most` an output."""

    inputs: int
    outputs: int
    most: int = MOST


@dataclass(frozen=True)
class IntLinear:
    """y = (W x + b) >> shift, or with a skip connection (W x + b + (x << skip)) >> shift.

    weight: int8 (outputs, inputs); bias, shift, skip: int32 (outputs).
    """

    weight: Int8
    bias: Int32
    shift: Int32
    skip: Int32 | None = None

    @property
    def shape(self) -> Shape:
        """What a product must be right for."""
        outputs, inputs = self.weight.shape
        return Shape(inputs, outputs, int(np.abs(self.weight.astype(np.int64)).sum(1).max()))

    def check(self, name: str) -> None:
        """Prove that no partial sum, with the bias and the skip connection added, reaches 2^24. Raises ValueError."""
        bound = np.abs(self.weight.astype(np.int64)).sum(1) * LARGEST + np.abs(self.bias.astype(np.int64))
        if self.skip is not None:
            bound = bound + (LARGEST << self.skip.astype(np.int64).clip(0, SUM_BITS))
        kinds = [part.dtype.name for part in (self.weight, self.bias, self.shift)] == ["int8", "int32", "int32"]
        if not kinds or int(bound.max()) >= 1 << SUM_BITS or int(self.shift.min()) < 0 or int(self.shift.max()) > 23:
            raise ValueError(f"layer {name} is not exact: a sum may reach {int(bound.max())}, or a shift is out of range")


def linear_layers(tensors: Tensors) -> dict[str, IntLinear]:
    """All layers of a weights file by their names, each proved to be exact. Raises ValueError."""
    names = sorted(name.removesuffix(".shift") for name in tensors if name.endswith(".shift"))
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    layers = {n: IntLinear(arrays[f"{n}.weight"], arrays[f"{n}.bias"], arrays[f"{n}.shift"], arrays.get(f"{n}.skip")) for n in names}
    for name, layer in layers.items():
        layer.check(name)
    return layers


def joined(layers: Sequence[IntLinear]) -> IntLinear:
    """Layers without skips that see the same inputs, as one."""
    return IntLinear(*(np.concatenate([getattr(layer, part) for layer in layers]) for part in ("weight", "bias", "shift")))


def known_answers(shapes: Iterable[tuple[int, ...]], rows: int) -> Iterator[tuple[Int8, Int8, Int32]]:
    """Extreme and random x (rows, inputs) and weights (outputs, inputs) of these `Shape`s, and their products (rows, outputs).

    Weights are as large as a shape's `most` allows: a sum that no layer can reach is no reason to refuse a product.
    """
    random = np.random.default_rng(1)
    reach: dict[tuple[int, int], int] = {}
    for shape in (Shape(*shape) for shape in shapes):
        reach[shape[:2]] = max(shape.most, reach.get(shape[:2], 0))
    for (inputs, outputs), most in sorted(reach.items()):
        kept = random.permutation(inputs) < most // LARGEST
        signs = random.choice([-LARGEST, LARGEST], inputs)
        cases = [
            (np.tile(signs, (rows, 1)), np.tile(signs, (outputs, 1)) * random.choice([-1, 1], (outputs, 1))),
            (np.full((rows, inputs), LARGEST), np.full((outputs, inputs), LARGEST)),
            (random.integers(-LARGEST, LARGEST + 1, (rows, inputs)), random.integers(-LARGEST, LARGEST + 1, (outputs, inputs))),
        ]
        for x, full in cases:
            weight = full * kept
            yield x.astype(np.int8), weight.astype(np.int8), (x.astype(np.float64) @ weight.astype(np.float64).T).astype(np.int32)
