"""Who multiplies for a model on this machine, and why: every product tried and timed at the shapes of its layers."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import back_ends
from .back_ends import BACK_ENDS, ROUNDS, TIMED_ROWS
from .integer import IntLinear, Shape, Tensors, linear_layers
from .kernels import jit, products

CPU = torch.device("cpu")
TRIED_ROWS = (1, 5, 61, 192)
TOLD = ("sse4.1", "avx", "avx2", "fma", "avxvnni", "avx512f", "avx512vnni", "avx512bf16", "amx-int8", "neon", "dotprod", "i8mm", "sve")
"""Features of processors that products are made of."""
SWITCHES = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
"""Environment variables that keep libraries from features of the processor."""


@dataclass(frozen=True)
class Speed:
    """Of a product: thousand million multiplications and additions a second on one thread, 0 if there is none here; whether it is right."""

    name: str
    gmacs: float
    right: bool


@dataclass(frozen=True)
class Choice:
    """Who multiplies, and why. speeds: of all who could."""

    taken: str
    why: str
    speeds: list[Speed]


def features() -> dict[str, Any]:
    """Of the processor, as the compiled loops and torch see them; and what the environment says about them."""
    found: dict[str, Any] = {"torch": torch.backends.cpu.get_cpu_capability()}
    if jit.INSTALLED:
        name, have = jit.target()
        found["numba"] = {"processor": name, "features": [feature for feature in TOLD if feature in have]}
    return found | {"set": {name: os.environ[name] for name in SWITCHES if name in os.environ}}


def shapes_of(arrays: Tensors) -> list[Shape]:
    """Of the integer layers of a weights file. Raises ValueError for layers that are not exact."""
    return sorted({layer.shape for layer in linear_layers(arrays).values()})


def choice(shapes: Iterable[Shape], arithmetic: str | None = None) -> Choice:
    """For layers of these shapes on the processor. Raises ValueError if what is asked for, by argument or environment, is not right."""
    shapes = list(shapes)
    speeds = [speed(name, shapes) for name in BACK_ENDS]
    if jit.wanted(arithmetic):
        products.check(shapes)
        why = "asked for" if jit.asked(arithmetic) else "compiled loops work here, for products and all that is between them"
        return Choice(jit.ARITHMETIC, why, speeds)
    taken = back_ends.choose(arithmetic, shapes, CPU).name
    reason = f"{jit.KERNELS}={os.environ.get(jit.KERNELS)}" if jit.INSTALLED else "numba is not installed"
    return Choice(taken, "asked for" if jit.asked(arithmetic) else f"{reason}: the fastest of torch's products that are right", speeds)


def speed(name: str, shapes: Iterable[Shape]) -> Speed:
    """Of a back end, or of the compiled loops without the wrapping that torch needs."""
    shapes = list(shapes)
    right = back_ends.passes_known_answers(BACK_ENDS[name], shapes, TRIED_ROWS, CPU)
    if name == jit.ARITHMETIC:
        seconds = _kernel_seconds(shapes) if jit.available() else float("inf")
    else:
        seconds = back_ends.seconds(BACK_ENDS[name], shapes, CPU)
    work = TIMED_ROWS * sum(inputs * outputs for inputs, outputs in {shape[:2] for shape in shapes})
    return Speed(name, work / seconds / 1e9, right)


def _kernel_seconds(shapes: Iterable[Shape]) -> float:
    """How long the kernels' products of some shapes take, at best."""
    layers = []
    for inputs, outputs in sorted({shape[:2] for shape in shapes}):
        packed = products.Packed.of(IntLinear(np.ones((outputs, inputs), np.int8), *np.zeros((2, outputs), np.int32)))
        x = np.ones((TIMED_ROWS, products.padded(inputs, products.INPUTS)), np.int16)
        layers.append((packed, x, np.empty((TIMED_ROWS, packed.width), np.int32)))
    times = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        for packed, x, out in layers:
            packed.sums(x, out)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def lines(chosen: Choice) -> list[str]:
    """The same for people."""
    every = ", ".join(f"{s.name} {f'{s.gmacs:.1f}' if s.gmacs else 'none'}{'' if s.right else ' (not right)'}" for s in chosen.speeds)
    return [f"{chosen.taken}: {chosen.why}", f"GMAC/s, one thread: {every}"]


def described() -> str:
    """The processor's features in a line."""
    found = features()
    numba = found.get("numba")
    parts = [f"{numba['processor']} with {' '.join(numba['features']) or 'none of the features that count'}"] if numba else ["no numba"]
    parts.append(f"torch {found['torch']}")
    return ", ".join([*parts, *(f"{name}={value}" for name, value in found["set"].items())])
