"""What `ardm` networks know of a picture: values that are known to some bits, and an estimate of every value from those around it.

Values of 8 bits are coded in *stages*, the highest bits of all values first. In a stage values are coded in any order; those that were
coded in it are *known*, of the others only the bits of earlier stages are. Order-agnostic models have one stage (Hoogeboom et al. 2022,
section 3), upscaling models several (section 3.3).

All of this is integer arithmetic; the network in floating point has the same in torch (`network.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 8  # of a value
COLOURS = 3
KINDS = 3  # inputs of a value
FLAG = 64  # what says that a value is known, and the stage
EIGHTHS = 8  # units of a grey level in estimates
Kernel = Sequence[Sequence[int]]
"""Weights of the values so many rows and columns away."""
KERNELS: Sequence[Kernel] = (  # of every pass of estimates
    ((0, 96, 6, 2), (96, 32, 4, 1), (6, 4, 2, 1), (2, 1, 1, 1)),
    ((0, 96, 4), (96, 24, 2), (4, 2, 1)),
    ((0, 1), (1, 0)),
    ((0, 1), (1, 0)),
)
KNOWN = 16  # weight of a value that is known
COARSE = 1  # in the first pass that of a value of which the bits of earlier stages are
LATER = ((12, 2), (14, 4), (14, 6))  # in later passes those of values beside which one of another colour is known, and of others
OWN = 64  # weight of values of the same colour beside that of all colours, in the first pass
BASE = 16  # weight of the grey level in the middle there
MIDDLE = 127 * EIGHTHS + EIGHTHS // 2
HIGHEST = 255 * EIGHTHS
BINS = 32  # in which costs of values are taken down, by the square root of the share that is known
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Values = NDArray[np.uint8]
"""Grey levels (tiles, height, width, 3)."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ArdmConfig:
    stages: Sequence[int] = (8,)  # bits of a value that each codes
    patch: int = 2  # side of a place in pixels
    width: int = 96
    steps: Sequence[int] = (1, 2, 1, 2, 1)  # of every block: how many places away its neighbours are
    head: int = 128
    mixtures: int = 5
    side: int = 32  # of the largest tile
    seed: int = 0  # of the order in which values are coded

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "steps", tuple(self.steps))
        if sum(self.stages) != BITS or min(self.stages) < 1:
            raise ValueError("the stages of a model are 8 bits together")

    @property
    def values(self) -> int:
        """Of a place."""
        return COLOURS * self.patch**2

    @property
    def told(self) -> int:
        """Inputs that say which stage it is."""
        return len(self.stages) if len(self.stages) > 1 else 0

    @property
    def inputs(self) -> int:
        """Of a place."""
        return KINDS * self.values + self.told

    @property
    def outputs(self) -> int:
        """Of a place: offsets, log-scales and logits of every value."""
        return 3 * self.mixtures * self.values

    @property
    def missing(self) -> list[int]:
        """Bits of a value that are not known when each stage begins, and in the end."""
        return [BITS - sum(self.stages[:stage]) for stage in range(len(self.stages) + 1)]


@dataclass(frozen=True)
class View:
    """What is known of values: whether each was coded in this stage, and the lowest and highest grey level that it may have."""

    known: Mask
    low: Int32
    high: Int32

    @staticmethod
    def of(values: Values, known: Mask, before: int, after: int) -> View:
        """before, after: bits of a value that are missing while it is not known in a stage, and then."""
        bits = np.where(known, np.int32(after), np.int32(before))
        low = values.astype(np.int32) >> bits << bits
        return View(known, low, low + (np.int32(1) << bits) - 1)


def sums_around(values: Int32, weights: Int32, kernel: Kernel) -> tuple[Int64, Int64]:
    """Weighted sums of the values around in each tile, and of their weights; nothing is outside. (tiles, height, width, 3) each."""
    reach = len(kernel) - 1
    height, width = values.shape[1:3]
    parts = []
    for part in (weights * values, weights):
        wide = np.pad(part, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        total = np.zeros(values.shape, np.int64)
        for dy in range(-reach, reach + 1):
            quarter = kernel[abs(dy)]
            if not any(quarter):
                continue
            row = wide[:, reach + dy : reach + dy + height]
            for dx in range(reach + 1):
                if quarter[dx]:
                    left, right = row[:, :, reach - dx : reach - dx + width], row[:, :, reach + dx : reach + dx + width]
                    total += quarter[dx] * (left + right if dx else left)
        parts.append(total)
    return parts[0], parts[1]


def estimates(view: View, coarse: bool) -> tuple[Int32, Int32]:
    """Estimates of values from those around, and the nearest that each may have; eighths of a grey level, (tiles, height, width, 3) each.

    coarse: whether bits of earlier stages are known. The first pass is a weighted mean; later ones also go by what was found for values
    that are not known. What is found for other colours of a pixel and is wrong there, is wrong here as well.
    """
    low, high = EIGHTHS * view.low, EIGHTHS * view.high
    weights = np.where(view.known, KNOWN, COARSE * coarse).astype(np.int32)
    others = np.maximum(weights.sum(-1, keepdims=True, dtype=np.int32) - weights, 1)
    beside = view.known.sum(-1, keepdims=True, dtype=np.int32) > view.known
    nearest = found = (low + high) >> 1
    for number, kernel in enumerate(KERNELS):
        if number:
            here = np.where(view.known, KNOWN, np.where(beside, *LATER[number - 1])).astype(np.int32)
            above, below = sums_around(nearest, here, kernel)
            above, below = np.where(below, above, found), np.maximum(below, 1)
        else:
            above, below = (OWN * part + part.sum(-1, keepdims=True) for part in sums_around(nearest, weights, kernel))
            above, below = above + BASE * MIDDLE, below + BASE
        found = (above // below).astype(np.int32)
        errors = weights * (found.clip(low, high) - found)
        found = found + (errors.sum(-1, keepdims=True, dtype=np.int32) - errors) // others
        found = found.clip(0, HIGHEST)
        nearest = found.clip(low, high)
    return found, nearest


def folded(maps: NDArray[np.int8], patch: int) -> NDArray[np.int8]:
    """Maps (tiles, height, width, n) as places (tiles, rows, columns, n patch^2), padded with zeros: of each map a place's pixels, row by
    row."""
    count, height, width, depth = maps.shape
    rows, columns = -(-height // patch), -(-width // patch)
    wide = np.pad(maps, ((0, 0), (0, rows * patch - height), (0, columns * patch - width), (0, 0)))
    return np.ascontiguousarray(
        wide.reshape(count, rows, patch, columns, patch, depth).transpose(0, 1, 3, 5, 2, 4).reshape(count, rows, columns, -1)
    )


def inputs(view: View, stage: int, config: ArdmConfig, signed: NDArray[np.int8]) -> tuple[NDArray[np.int8], Int32]:
    """Inputs of places (tiles, rows, columns, inputs), and the nearest estimates of values (tiles, height, width, 3).

    signed: the table of `context.py`.
    """
    found, nearest = estimates(view, stage > 0)
    residuals = signed[((nearest - found) >> 3) + len(signed) // 2]
    levels = ((nearest >> 3) - 128).clip(-127, 127).astype(np.int8)
    parts = folded(np.concatenate([np.where(view.known, FLAG, 0).astype(np.int8), residuals, levels], -1), config.patch)
    if config.told:
        told = np.zeros((*parts.shape[:3], config.told), np.int8)
        told[..., stage] = FLAG
        parts = np.concatenate([parts, told], -1)
    return parts, nearest


def slots(height: int, width: int, patch: int) -> tuple[Int64, Int64]:
    """For every value (y, x, colour) of a tile in raster order its place among the tile's places, and which of the place's values it is."""
    y, x, colour = (part.ravel() for part in np.indices((height, width, COLOURS)))
    return y // patch * -(-width // patch) + x // patch, (colour * patch + y % patch) * patch + x % patch
