"""Products of int8 matrices by torch and by the compiled loops, for networks in torch; the choice of one by right, and then by speed.

That a back end is right is tried on known answers: `torch._int_mm` was silently wrong on some processors (pytorch#136746). Which of
those that are right is fast is measured at the shapes in use: without VNNI the same `torch._int_mm` is right and up to eighty times
slower than others.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .integer import LARGEST, IntLinear, Shape, known_answers
from .kernels import jit, products

TIMED_ROWS, ROUNDS = 64, 3


class BackEnd(Protocol):
    """Multiplies int8 matrices exactly."""

    name: str

    def prepare(self, weight: Tensor) -> Any:
        """Bring int8 weights (outputs, inputs) into the form that `product` wants."""

    def product(self, x: Tensor, prepared: Any) -> Tensor:
        """int8 (n, inputs) times prepared weights; int32 (n, outputs), freshly allocated."""


class Int16:
    """The compiled loops: pairs of int16 products with int32 sums."""

    name = "int16"

    def prepare(self, weight: Tensor) -> products.Packed:
        if weight.device.type != "cpu" or not jit.available():
            raise RuntimeError("there are no compiled loops here")
        return products.Packed.of(IntLinear(weight.numpy(), *np.zeros((2, len(weight)), np.int32)))

    def product(self, x: Tensor, prepared: products.Packed) -> Tensor:
        sums = prepared.sums(products.widened(x.numpy()), np.empty((len(x), prepared.width), np.int32))
        return torch.from_numpy(sums[:, : prepared.outputs])


class Int8:
    """int8 products with int32 sums (AMX, VNNI, tensor cores)."""

    name = "int8"

    def prepare(self, weight: Tensor) -> Tensor:
        return weight.t().contiguous()

    def product(self, x: Tensor, prepared: Tensor) -> Tensor:
        return torch._int_mm(x, prepared)


class OneDNN:
    """oneDNN's products of uint8 and int8, an internal operator of torch. Negative inputs are a product of their own.

    With AVX2 pairs of products are added in int16, which no pair of 0..127 times -127..127 can leave.
    """

    name = "onednn"

    def prepare(self, weight: Tensor) -> tuple[Any, Tensor, Tensor]:
        packed = torch.ops.onednn.qlinear_prepack(weight, [TIMED_ROWS, weight.shape[1]])
        return packed, torch.ones(len(weight)), torch.zeros(len(weight), dtype=torch.int64)

    def product(self, x: Tensor, prepared: tuple[Any, Tensor, Tensor]) -> Tensor:
        result = self._part(x.clamp(min=0), prepared)
        if bool((x < 0).any()):
            result -= self._part(x.clamp(max=0).neg_(), prepared)
        return result.to(torch.int32)

    @staticmethod
    def _part(x: Tensor, prepared: tuple[Any, Tensor, Tensor]) -> Tensor:
        packed, scales, zeros = prepared
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            x.to(torch.uint8), 1.0, 0, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return product


class Float:
    """Integers riding in floats: exact while every partial sum stays below 2^24 (float32) or 2^53 (float64)."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.name = str(dtype).removeprefix("torch.")

    def prepare(self, weight: Tensor) -> Tensor:
        return weight.t().contiguous().to(self.dtype)

    def product(self, x: Tensor, prepared: Tensor) -> Tensor:
        return torch.mm(x.to(self.dtype), prepared).to(torch.int32)


BACK_ENDS: dict[str, BackEnd] = {b.name: b for b in (Int16(), Int8(), OneDNN(), Float(torch.float32), Float(torch.float64))}
KNOWN_ANSWER_ROWS = (1, 2, 5, 16, 61, 256, 1024)
FALLBACK = "float64"  # never faster than float32, and tried when nothing else is right
ABSENT = (RuntimeError, AttributeError, NotImplementedError)  # what a back end raises that does not exist here


@dataclass(frozen=True)
class Prepared:
    """An IntLinear with its weights prepared for a back end."""

    weight: Any
    bias: Tensor
    shift: Tensor
    skip: Tensor | None

    @staticmethod
    def of(layer: IntLinear, back_end: BackEnd, device: torch.device) -> "Prepared":
        weight, bias, shift = (torch.from_numpy(part).to(device) for part in (layer.weight, layer.bias, layer.shift))
        skip = None if layer.skip is None else torch.from_numpy(layer.skip).to(device)
        return Prepared(back_end.prepare(weight), bias, shift, skip)

    def sums(self, back_end: BackEnd, x: Tensor, own: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """(W x + b + (own << skip)) >> shift of int8 (n, inputs), int32 (n, outputs); the skip where the layer has one.

        bias: another one than the layer's.
        """
        found = back_end.product(x.contiguous(), self.weight).add_(self.bias if bias is None else bias)
        if own is not None and self.skip is not None:
            found.add_(own.int().bitwise_left_shift_(self.skip))
        return found.bitwise_right_shift_(self.shift)


def passes_known_answers(back_end: BackEnd, shapes: Iterable[tuple[int, ...]], rows: Sequence[int], device: torch.device) -> bool:
    """Does the back end multiply extreme and random int8 matrices of these `Shape`s exactly?"""
    for x, weight, answer in known_answers(shapes, max(rows)):
        try:
            prepared = back_end.prepare(torch.from_numpy(weight).to(device))
            small = torch.from_numpy(x).to(device)
            right = all(np.array_equal(back_end.product(small[:n], prepared).cpu().numpy(), answer[:n]) for n in rows)
        except ABSENT:
            return False
        if not right:
            return False
    return True


def seconds(back_end: BackEnd, shapes: Iterable[tuple[int, ...]], device: torch.device) -> float:
    """How long the products of some shapes take on one thread, at best; infinite if the back end has none."""
    threads, every = torch.get_num_threads(), sorted({Shape(*shape)[:2] for shape in shapes})
    pairs = [
        (torch.ones((TIMED_ROWS, i), dtype=torch.int8, device=device), torch.ones((o, i), dtype=torch.int8, device=device))
        for i, o in every
    ]
    torch.set_num_threads(1)
    try:
        prepared = [(x, back_end.prepare(weight)) for x, weight in pairs]
        times = []
        for _ in range(1 + ROUNDS):  # the first one loads what there is to load
            started = time.perf_counter()
            for x, weight in prepared:
                result = back_end.product(x, weight)
            result.cpu()  # waits for a GPU
            times.append(time.perf_counter() - started)
        return min(times[1:])
    except ABSENT:
        return float("inf")
    finally:
        torch.set_num_threads(threads)


def choose(wanted: str | None, shapes: Iterable[tuple[int, ...]], device: torch.device, rows: Sequence[int] = KNOWN_ANSWER_ROWS) -> BackEnd:
    """The fastest back end at these shapes that passes the known-answer test, or the one asked for. Raises ValueError if none does."""
    shapes, wanted = list(shapes), jit.asked(wanted)
    if wanted and wanted not in BACK_ENDS:
        raise ValueError(f"no arithmetic called {wanted!r}; there are {', '.join(BACK_ENDS)}")
    fast = [name for name in BACK_ENDS if name != FALLBACK]
    names = [wanted] if wanted else [*sorted(fast, key=lambda name: seconds(BACK_ENDS[name], shapes, device)), FALLBACK]
    for name in names:
        if passes_known_answers(BACK_ENDS[name], shapes, rows, device):
            return BACK_ENDS[name]
    raise ValueError(f"no exact matrix product on this machine (tried {', '.join(names)})")


def batched_dtype(inner: int, tokens: int, device: torch.device) -> torch.dtype:
    """The first floating type in which batched products of small integer matrices are exact on this machine.

    inner: numbers of a query; tokens: the longest sum of weights and values. Raises ValueError if there is none.
    """
    random = np.random.default_rng(2)
    signs = random.choice([-LARGEST, LARGEST], (8, 4, inner))
    cases = [
        (signs, signs.swapaxes(1, 2)),
        (random.integers(0, 256, (8, 4, tokens)), random.integers(-LARGEST, LARGEST + 1, (8, tokens, inner))),
        (np.full((8, 1, tokens), 255), np.full((8, tokens, inner), LARGEST)),
    ]
    for dtype in (torch.float32, torch.float64):
        products = [torch.from_numpy(a).to(device, dtype) @ torch.from_numpy(b).to(device, dtype) for a, b in cases]
        if all(np.array_equal(p.cpu().double().numpy(), a.astype(np.float64) @ b) for p, (a, b) in zip(products, cases, strict=True)):
            return dtype
    raise ValueError("no exact batched matrix product on this machine")
