"""Exact integer layers, and the back ends that multiply for them.

A layer is y = (W x + b) >> shift with int8 W and x, int32 sums and a floor shift for every output: integer arithmetic
throughout, so the result is the same number on every machine. What differs between machines is only who multiplies.
A back end must give the exact integer sums; that is proved when weights are loaded (`check`: no sum can leave the range
in which the back end is exact) and tried on extreme values (`passes_known_answers`), because a kernel's word is no proof:
`torch._int_mm` was silently wrong on some processors (pytorch#136746). Which of those that are exact is fast is another
question, and is measured: on processors without VNNI the same `torch._int_mm` is right and thirty times slower than float32.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

LARGEST = 127  # magnitude of weights and activations
SUM_BITS = 24  # every sum is below 2^24, so float32 holds it exactly
MOST = ((1 << SUM_BITS) - 1) // LARGEST  # absolute weights of an output that passes `IntLinear.check`, summed up
TIMED_ROWS, ROUNDS = 64, 3


class BackEnd(Protocol):
    """Multiplies int8 matrices exactly."""

    name: str

    def prepare(self, weight: Tensor) -> Tensor:
        """Bring int8 weights (outputs, inputs) into the form that `product` wants."""

    def product(self, x: Tensor, prepared: Tensor) -> Tensor:
        """int8 (n, inputs) times prepared weights; int32 (n, outputs), freshly allocated."""


class Int8:
    """int8 products with int32 sums (AMX, VNNI, tensor cores)."""

    name = "int8"

    def prepare(self, weight: Tensor) -> Tensor:
        return weight.t().contiguous()

    def product(self, x: Tensor, prepared: Tensor) -> Tensor:
        return torch._int_mm(x, prepared)


class Float:
    """Integers riding in floats: exact while every partial sum stays below 2^24 (float32) or 2^53 (float64)."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.name = str(dtype).removeprefix("torch.")

    def prepare(self, weight: Tensor) -> Tensor:
        return weight.t().contiguous().to(self.dtype)

    def product(self, x: Tensor, prepared: Tensor) -> Tensor:
        return torch.mm(x.to(self.dtype), prepared).to(torch.int32)


BACK_ENDS: dict[str, BackEnd] = {b.name: b for b in (Int8(), Float(torch.float32), Float(torch.float64))}
KNOWN_ANSWER_ROWS = (1, 2, 5, 16, 61, 256, 1024)
FALLBACK = "float64"  # never faster than float32, and tried when nothing else is right


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

    weight: Tensor
    bias: Tensor
    shift: Tensor
    skip: Tensor | None = None

    @property
    def shape(self) -> Shape:
        """What a back end must be right for."""
        outputs, inputs = self.weight.shape
        return Shape(inputs, outputs, int(self.weight.long().abs().sum(1).max()))

    def check(self, name: str) -> None:
        """Prove that no partial sum, with the bias and the skip connection added, reaches 2^24. Raises ValueError."""
        bound = self.weight.long().abs().sum(1) * LARGEST + self.bias.long().abs()
        if self.skip is not None:
            bound = bound + (LARGEST << self.skip.long().clamp(0, SUM_BITS))
        kinds = (self.weight.dtype, self.bias.dtype, self.shift.dtype) == (torch.int8, torch.int32, torch.int32)
        if not kinds or int(bound.max()) >= 1 << SUM_BITS or int(self.shift.min()) < 0 or int(self.shift.max()) > 23:
            raise ValueError(f"layer {name} is not exact: a sum may reach {int(bound.max())}, or a shift is out of range")


def linear_layers(tensors: Mapping[str, Tensor]) -> dict[str, IntLinear]:
    """All layers of a weights file by their names, each proved to be exact. Raises ValueError."""
    names = sorted(name.removesuffix(".shift") for name in tensors if name.endswith(".shift"))
    layers = {n: IntLinear(tensors[f"{n}.weight"], tensors[f"{n}.bias"], tensors[f"{n}.shift"], tensors.get(f"{n}.skip")) for n in names}
    for name, layer in layers.items():
        layer.check(name)
    return layers


@dataclass(frozen=True)
class Prepared:
    """An IntLinear with its weights prepared for a back end."""

    weight: Tensor
    bias: Tensor
    shift: Tensor
    skip: Tensor | None

    @staticmethod
    def of(layer: IntLinear, back_end: BackEnd) -> "Prepared":
        return Prepared(back_end.prepare(layer.weight), layer.bias, layer.shift, layer.skip)


def passes_known_answers(back_end: BackEnd, shapes: Iterable[tuple[int, ...]], rows: Sequence[int], device: torch.device) -> bool:
    """Does the back end multiply extreme and random int8 matrices of these `Shape`s exactly?

    Weights are as large as a shape's `most` allows: a sum that no layer can reach is no reason to refuse float32.
    """
    random = np.random.default_rng(1)
    tallest = max(rows)
    reach: dict[tuple[int, int], int] = {}
    for shape in (Shape(*shape) for shape in shapes):
        reach[shape[:2]] = max(shape.most, reach.get(shape[:2], 0))
    for (inputs, outputs), most in sorted(reach.items()):
        kept = random.permutation(inputs) < most // LARGEST
        signs = random.choice([-LARGEST, LARGEST], inputs)
        cases = [
            (np.tile(signs, (tallest, 1)), np.tile(signs, (outputs, 1)) * random.choice([-1, 1], (outputs, 1))),
            (np.full((tallest, inputs), LARGEST), np.full((outputs, inputs), LARGEST)),
            (random.integers(-LARGEST, LARGEST + 1, (tallest, inputs)), random.integers(-LARGEST, LARGEST + 1, (outputs, inputs))),
        ]
        for x, full in cases:
            weight = full * kept
            answer = (x.astype(np.float64) @ weight.astype(np.float64).T).astype(np.int32)
            try:
                prepared = back_end.prepare(torch.from_numpy(weight.astype(np.int8)).to(device))
                small = torch.from_numpy(x.astype(np.int8)).to(device)
                results = [(n, back_end.product(small[:n], prepared).cpu().numpy()) for n in rows]
            except (RuntimeError, AttributeError):
                return False
            if not all(np.array_equal(result, answer[:n]) for n, result in results):
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
        products = [(x, back_end.prepare(weight)) for x, weight in pairs]
        times = []
        for _ in range(1 + ROUNDS):  # the first one loads what there is to load
            started = time.perf_counter()
            for x, prepared in products:
                result = back_end.product(x, prepared)
            result.cpu()  # waits for a GPU
            times.append(time.perf_counter() - started)
        return min(times[1:])
    except (RuntimeError, AttributeError):
        return float("inf")
    finally:
        torch.set_num_threads(threads)


def choose(wanted: str | None, shapes: Iterable[tuple[int, ...]], device: torch.device, rows: Sequence[int] = KNOWN_ANSWER_ROWS) -> BackEnd:
    """The fastest back end at these shapes that passes the known-answer test, or the wanted one. Raises ValueError if none does."""
    shapes = list(shapes)
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
